"""The page on which KubeSpan of a cluster is turned on, changed and turned off."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect

from apps.clusters import discovery
from apps.clusters.models import Cluster, ClusterMachine
from apps.clusters.observe_machine import machine_name
from apps.dashboard.clusters import cluster_of
from apps.dashboard.page import PageRequest, page, show
from apps.mesh import kubespan
from talos.config.kubespan import DEFAULT_MTU, EXCLUDES_SINCE, LARGEST_MTU, LEAST_MTU, KubeSpan, patch_name
from talos.contract import VersionContract

ENDPOINTS = "endpoints-"
"""What the names of fields with a machine's endpoints begin with; its UUID follows."""

SWITCHES = ("advertise_kubernetes_networks", "allow_down_peer_bypass", "harvest")


@page("cluster.update")
def cluster_kubespan(request: PageRequest, name: str) -> HttpResponse:
    """A form of the mesh's settings; what it changes on machines is said beside it."""
    cluster = cluster_of(request, name)
    if request.method != "POST":
        return _form(request, cluster, _filled(kubespan.read(cluster)), {})
    try:
        settings = _settings(request.POST)
        endpoints = {
            key.removeprefix(ENDPOINTS): value.split()
            for key, value in request.POST.items()
            if key.startswith(ENDPOINTS) and isinstance(value, str)
        }
        with transaction.atomic():
            kubespan.write(request.actor, cluster, settings, endpoints)
    except ValidationError as error:
        found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        return _form(request, cluster, request.POST, found)
    messages.success(request, f"KubeSpan is on in {name}. Its machines take the new configuration one after another.")
    return redirect("cluster-mesh", request.organisation.slug, name)


@page("cluster.update")
def cluster_kubespan_off(request: PageRequest, name: str) -> HttpResponse:
    """Turn it off."""
    cluster = cluster_of(request, name)
    if request.method != "POST":
        return redirect("cluster-kubespan", request.organisation.slug, name)
    try:
        with transaction.atomic():
            kubespan.turn_off(request.actor, cluster)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("cluster-kubespan", request.organisation.slug, name)
    messages.success(request, f"KubeSpan is off in {name}. Its machines take the new configuration one after another.")
    return redirect("cluster", request.organisation.slug, name)


def _settings(form: QueryDict) -> KubeSpan:
    """Raises ValidationError for an MTU that is no number."""
    mtu = form.get("mtu", "").strip()
    if mtu and not (mtu.isascii() and mtu.isdecimal() and len(mtu) < 7):
        raise ValidationError({"mtu": f"“{mtu}” is no number of bytes"})
    return KubeSpan(
        mtu=int(mtu) if mtu else None,
        endpoint_filters=tuple(form.get("endpoint_filters", "").split()),
        exclude_networks=tuple(form.get("exclude_networks", "").split()),
        **{name: form.get(name) == "on" for name in SWITCHES},
    )


def _filled(setup: kubespan.Setup) -> QueryDict:
    """The form of what is stored."""
    settings, form = setup.settings or KubeSpan(), QueryDict(mutable=True)
    form["mtu"] = str(settings.mtu or "")
    form["endpoint_filters"] = "\n".join(settings.endpoint_filters)
    form["exclude_networks"] = "\n".join(settings.exclude_networks)
    for name in SWITCHES:
        form[name] = "on" if getattr(settings, name) else ""
    for uuid, values in setup.endpoints.items():
        form[f"{ENDPOINTS}{uuid}"] = " ".join(values)
    return form


def _form(request: PageRequest, cluster: Cluster, form: QueryDict, errors: dict[str, list[str]]) -> HttpResponse:
    setup = kubespan.read(cluster)
    rows = ClusterMachine.objects.filter(cluster=cluster).select_related("machine__observation").order_by("id")
    members = [(row.machine.uuid, machine_name(row.machine)) for row in rows]
    services = discovery.told(cluster)
    fields: dict[str, Any] = {
        name: {"value": form.get(name, ""), "errors": errors.get(name, [])}
        for name in ("mtu", "endpoint_filters", "exclude_networks", *SWITCHES)
    }
    context = {
        "cluster": cluster,
        "on": setup.settings is not None,
        "fields": fields,
        "machines": [(uuid, name, f"{ENDPOINTS}{uuid}", form.get(f"{ENDPOINTS}{uuid}", "")) for uuid, name in members],
        "endpoint_errors": errors.get("extra_endpoints", []),
        "other_errors": [*errors.get("", []), *errors.get("kubespan", [])],
        "has_errors": bool(errors),
        "notes": list(kubespan.notes(cluster, setup)),
        "elsewhere": setup.elsewhere,
        "embedded": services.embedded,
        "public": services.public,
        "there_is_ours": discovery.there_is_ours(),
        "document": VersionContract.parse(cluster.initial_talos_version).kube_span_multidoc_config,
        "patch": patch_name(cluster.name),
        "default_mtu": DEFAULT_MTU,
        "least_mtu": LEAST_MTU,
        "largest_mtu": LARGEST_MTU,
        "excludes_since": ".".join(map(str, EXCLUDES_SINCE)),
    }
    return show(request, "mesh/enable.html", context, "mesh", "cluster", status=400 if errors else 200)
