"""What a control plane refuses or warns about although the format of templates allows it."""

from collections import Counter
from collections.abc import Iterator

from talos import semver, versions
from talos.kernelargs import is_protected
from talos.template.errors import quoted
from talos.template.load import Template
from talos.template.models import ControlPlane, Document, Machine

MAX_KERNEL_ARGS = 64
MAX_KERNEL_ARG_BYTES = 256
MAX_EXTENSIONS = 256


def problems(template: Template) -> list[str]:
    """Why a valid template cannot be synced, as far as this library knows Talos; empty if nothing speaks against it."""
    found = [*_cluster(template), *_repeated(template)]
    for document in template.documents:
        found += (f"{document.kind} {quoted(document.name)}: {problem}" for problem in _settings(document))
    return found


def warnings(template: Template) -> list[str]:
    """What is allowed and likely not meant."""
    found = []
    for control_plane in template.of(ControlPlane):
        count = len(control_plane.machines)
        if count and count % 2 == 0:
            found.append(f"{count} control planes tolerate no more failures than {count - 1}: use an odd number")
    return found


def _cluster(template: Template) -> Iterator[str]:
    cluster = template.cluster
    if not cluster.name.isascii():
        yield f"the name of cluster {quoted(cluster.name)} may hold ASCII letters, digits, dashes and underscores only"
    talos = semver.parse(cluster.talos.version)
    if (talos.major, talos.minor) < versions.OLDEST_TALOS:
        oldest = ".".join(map(str, versions.OLDEST_TALOS))
        yield f"Talos {talos} is too old: {oldest} and newer are supported"
        return
    try:
        versions.check_kubernetes(cluster.kubernetes.version, cluster.talos.version)
    except ValueError as error:
        yield str(error)


def _repeated(template: Template) -> Iterator[str]:
    for name, count in Counter(machine.name for machine in template.of(Machine)).items():
        if count > 1:
            yield f"machine {quoted(name)} has {count} documents: join them"


def _settings(document: Document) -> Iterator[str]:
    arguments, extensions = document.kernel_args or [], document.system_extensions or []
    if len(arguments) > MAX_KERNEL_ARGS:
        yield f"{len(arguments)} kernel arguments are more than {MAX_KERNEL_ARGS}"
    for argument in arguments:
        if is_protected(argument):
            yield f"kernel argument {quoted(argument.partition('=')[0])} is set by the control plane itself"
        if len(argument.encode()) > MAX_KERNEL_ARG_BYTES:
            yield f"kernel argument {quoted(argument[:40])}... is longer than {MAX_KERNEL_ARG_BYTES} bytes"
        if not argument.isprintable():
            yield f"kernel argument {quoted(argument)} holds characters that do not print"
    if len(extensions) > MAX_EXTENSIONS:
        yield f"{len(extensions)} system extensions are more than {MAX_EXTENSIONS}"
    for extension, count in Counter(extensions).items():
        if count > 1:
            yield f"system extension {quoted(extension)} is listed {count} times"
