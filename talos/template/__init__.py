"""Cluster templates: one YAML file that says what a cluster shall be, in the format that Omni's users have.

``load`` reads, ``validate`` judges, ``translate`` gives the resources, ``plan`` compares them with what is stored, and
``export`` goes back from stored resources to a template.
"""

from talos.template.endpoint import NO_ENDPOINT, Endpoint
from talos.template.errors import TemplateError
from talos.template.export import ExportError, export, install_disk
from talos.template.files import ReadFile
from talos.template.load import Template, load
from talos.template.plan import Change, Plan, plan
from talos.template.problems import problems, warnings
from talos.template.resources import Resource, render
from talos.template.translate import endpoint_of, endpoint_spec, translate
from talos.template.validate import validate

__all__ = [
    "NO_ENDPOINT",
    "Change",
    "Endpoint",
    "ExportError",
    "Plan",
    "ReadFile",
    "Resource",
    "Template",
    "TemplateError",
    "endpoint_of",
    "endpoint_spec",
    "export",
    "install_disk",
    "load",
    "plan",
    "problems",
    "render",
    "translate",
    "validate",
    "warnings",
]
