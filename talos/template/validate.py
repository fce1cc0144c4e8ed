"""Whether a template makes sense, as far as can be said without asking a server.

Every error is found and reported at once, in the wording of the format.
"""

from collections.abc import Callable

from talos import semver
from talos.config import forbidden
from talos.config.forbidden import error_list
from talos.template import resources as kinds
from talos.template.endpoint import Endpoint
from talos.template.errors import TemplateError, quoted, within
from talos.template.files import ReadFile, no_files, read
from talos.template.load import Template
from talos.template.models import (
    Cluster,
    ControlPlane,
    Described,
    Document,
    Healthcheck,
    Machine,
    MachineSet,
    Manifest,
    OwnEndpoint,
    Patch,
    Workers,
)
from talos.template.translate import patch_content

MIN_TALOS_FOR_ENCRYPTION = semver.Version(1, 5, 0)


def validate(template: Template, read_file: ReadFile = no_files) -> None:
    """Raise TemplateError with everything that is wrong with a template."""
    errors: list[str] = []
    for document in template.documents:
        errors += _document(document, read_file)
    errors += _together(template)
    if errors:
        raise TemplateError("validate", error_list(errors))


def _document(document: Document, read_file: ReadFile) -> list[str]:
    match document:
        case Cluster():
            return within(f"error validating cluster {quoted(document.name)}", _cluster(document, read_file))
        case ControlPlane():
            return within("controlplane is invalid", [*_control_plane(document), *_machine_set(document, read_file)])
        case Workers():
            return within("workers is invalid", [*_workers(document), *_machine_set(document, read_file)])
        case Machine():
            return within(f"machine {quoted(document.name)} is invalid", _machine(document, read_file))
    raise TypeError(f"{type(document).__name__} is no document of a template")


def _cluster(cluster: Cluster, read_file: ReadFile) -> list[str]:
    errors = []
    if not cluster.name:
        errors.append("name is required")
    if not all(char.isdigit() or char.isalpha() or char in "-_" for char in cluster.name):
        errors.append("name should only contain letters, digits, dashes and underscores")
    errors += within("error validating Kubernetes version", _version(cluster.kubernetes.version))
    talos_errors = _version(cluster.talos.version)
    if cluster.talos.version and not cluster.talos.version.startswith("v"):
        talos_errors.append("version should start with 'v'")
    errors += within("error validating Talos version", talos_errors)
    if cluster.endpoint is not None:
        errors += within("error validating endpoint", _endpoint(cluster.endpoint))
    if cluster.features.disk_encryption:
        errors += _encryption(cluster.talos.version)
    errors += _described(cluster)
    errors += _patches(cluster.patches, read_file)
    errors += _joined(
        [_manifest(manifest, read_file) for manifest in cluster.kubernetes.manifests],
        [manifest.title for manifest in cluster.kubernetes.manifests],
        "manifest name",
    )
    errors += _joined(
        [_healthcheck(check, read_file) for check in cluster.kubernetes.healthchecks],
        [check.title for check in cluster.kubernetes.healthchecks],
        "healthcheck",
    )
    return errors


def _version(version: str) -> list[str]:
    if not version:
        return ["version is required"]
    return _failure("version should be in semver format: ", semver.parse, version)


def _endpoint(endpoint: OwnEndpoint) -> list[str]:
    if not endpoint.address and not endpoint.virtual_ip:
        return ["address or virtualIP is required"]
    return [
        error
        for address, virtual_ip in ((endpoint.address, ""), ("", endpoint.virtual_ip))
        for error in _failure("", Endpoint.parse, address, virtual_ip)
    ]


def _encryption(talos: str) -> list[str]:
    try:
        too_old = semver.parse(talos) < MIN_TALOS_FOR_ENCRYPTION
    except ValueError as error:
        return [str(error)]
    return ["disk encryption is supported only for Talos version >= 1.5.0"] if too_old else []


def _control_plane(control_plane: ControlPlane) -> list[str]:
    errors = []
    if control_plane.name:
        errors.append("custom name is not allowed in the controlplane")
    if bootstrap := control_plane.bootstrap_spec:
        if not bootstrap.cluster_uuid:
            errors.append("clusterUUID is required in bootstrapSpec")
        if not bootstrap.snapshot:
            errors.append("snapshot is required in bootstrapSpec")
    if control_plane.update_strategy:
        errors.append("updateStrategy is not allowed in the controlplane")
    if control_plane.delete_strategy:
        errors.append("deleteStrategy is not allowed in the controlplane")
    return errors


def _workers(workers: Workers) -> list[str]:
    errors = []
    if workers.name == kinds.CONTROL_PLANES:
        errors.append(f'name "{kinds.CONTROL_PLANES}" cannot be used in workers')
    if workers.bootstrap_spec:
        errors.append("bootstrapSpec is not allowed in workers")
    return errors


def _machine_set(group: MachineSet, read_file: ReadFile) -> list[str]:
    errors = _described(group)
    if group.machines and group.machine_class:
        errors.append("machine set can not have both machines and machine class defined")
    if group.kernel_args is not None and group.machine_class:
        errors.append("kernelArgs cannot be defined for machine set since it uses machine class")
    for machine in group.machines:
        errors += _machine_id(machine)
    return errors + _patches(group.patches, read_file)


def _machine(machine: Machine, read_file: ReadFile) -> list[str]:
    errors = [] if machine.name else ["name is required for machine"]
    errors += _described(machine)
    errors += _machine_id(machine.name)
    if machine.install.disk and machine.install.disk_selector:
        errors.append("install.disk and install.diskSelector are mutually exclusive")
    return errors + _patches(machine.patches, read_file)


def _machine_id(machine: str) -> list[str]:
    return _failure(f"invalid machine ID {quoted(machine)}: ", _check_uuid, machine)


def _check_uuid(text: str) -> None:
    """Accept what UUID readers accept: with dashes, also behind ``urn:uuid:`` or in braces, or bare digits."""
    length = len(text.encode())
    if length not in (32, 36, 38, 45):
        raise ValueError(f"invalid UUID length: {length}")
    if length == 45:
        if text[:9].lower() != "urn:uuid:":
            raise ValueError(f"invalid urn prefix: {quoted(text[:9])}")
        text = text[9:]
    elif length == 38:
        text = text[1:-1]
    groups = [text[:8], text[8:12], text[12:16], text[16:20], text[20:]] if length == 32 else text.split("-")
    hexadecimal = all(set(group) <= set("0123456789abcdefABCDEF") for group in groups)
    if [len(group) for group in groups] != [8, 4, 4, 4, 12] or not hexadecimal:
        raise ValueError("invalid UUID format")


def _described(described: Described) -> list[str]:
    reserved = f"is invalid: prefix {quoted(kinds.SYSTEM_PREFIX)} is reserved for internal use"
    return [
        f"{name} {quoted(key)} {reserved}"
        for name, keys in (("label", described.labels), ("annotation", described.annotations))
        for key in keys
        if key.startswith(kinds.SYSTEM_PREFIX)
    ]


def _patches(patches: list[Patch], read_file: ReadFile) -> list[str]:
    errors = []
    for patch in patches:
        errors += within(f"patch {quoted(patch.title)} is invalid", _patch(patch, read_file))
    return errors


def _patch(patch: Patch, read_file: ReadFile) -> list[str]:
    errors = _described(patch) + _one_source(patch.file, patch.inline is not None)
    if patch.file:
        try:
            data = patch_content(patch, read_file)
        except ValueError as error:
            errors.append(f"failed to access {quoted(patch.file)}: {error}")
        else:
            errors += _failure(f"failed to validate patch {quoted(patch.file)}: ", forbidden.check, data)
    elif patch.inline is not None:
        if not patch.name and not patch.id_override:
            errors.append("either name or idOverride is required for inline patches")
        prefix = f"failed to validate inline patch {quoted(patch.title)}: "
        errors += _failure(prefix, forbidden.check, patch.inline.text)
    return errors


def _manifest(manifest: Manifest, read_file: ReadFile) -> list[str]:
    title = quoted(manifest.title)
    errors = []
    if not manifest.title:
        errors.append("kubernetes manifest name is empty")
    if not manifest.mode:
        errors.append(f"kubernetes manifest {title} mode is not set")
    errors += _one_source(manifest.file, manifest.inline is not None)
    errors += within(f"kubernetes manifest {title} descriptors validation failed", _described(manifest))
    if manifest.file:
        errors += _failure(f"failed to access {quoted(manifest.file)}: ", patch_content, manifest, read_file)
    return ["\n".join(errors)] if errors else []


def _healthcheck(check: Healthcheck, read_file: ReadFile) -> list[str]:
    title = quoted(check.title)
    errors = []
    if not check.title:
        errors.append("either name or idOverride is required for a healthcheck")
    if check.job and check.file:
        errors.append(f"healthcheck {title}: job and file are mutually exclusive")
    elif not check.job and not check.file:
        errors.append(f"healthcheck {title}: job or file is required")
    elif check.file:
        errors += _failure(f"healthcheck {title}: failed to access {quoted(check.file)}: ", read, read_file, check.file)
    errors += _described(check)
    return [error_list(errors)] if errors else []


def _joined(results: list[list[str]], titles: list[str], what: str) -> list[str]:
    """The errors of the items of a list as one text, with a word on repeated names of those that are right."""
    seen: set[str] = set()
    errors: list[str] = []
    for result, title in zip(results, titles, strict=True):
        if result:
            errors += result
        elif title in seen:
            errors.append(f"duplicate {what} {quoted(title)}")
        else:
            seen.add(title)
    return ["\n".join(errors)] if errors else []


def _one_source(file: str, inline: bool) -> list[str]:
    if file and inline:
        return ["path and inline are mutually exclusive"]
    return [] if file or inline else ["path or inline is required"]


def _failure(prefix: str, check: Callable[..., object], *arguments: object) -> list[str]:
    try:
        check(*arguments)
    except ValueError as error:
        return [prefix + str(error)]
    return []


def _together(template: Template) -> list[str]:
    """The checks between documents."""
    errors = [
        f"template should contain 1 {name}, got {count}"
        for name, count in (
            ("cluster", len(list(template.of(Cluster)))),
            ("controlplane", len(list(template.of(ControlPlane)))),
        )
        if count != 1
    ]
    control_planes = [machine for group in template.of(ControlPlane) for machine in group.machines]
    names: dict[str, int] = {}
    sets_of: dict[str, list[str]] = {}
    for workers in template.of(Workers):
        names[workers.name] = names.get(workers.name, 0) + 1
        for machine in workers.machines:
            sets_of.setdefault(machine, []).append(workers.name)
    errors += [f"duplicate workers with name {quoted(name)}" for name, count in names.items() if count > 1]
    for machine, sets in sets_of.items():
        if len(sets) > 1:
            in_sets = " ".join(map(quoted, sets))
            errors.append(f"machine {quoted(machine)} is used in multiple workers: [{in_sets}]")
    if both := [machine for machine in sets_of if machine in control_planes]:
        errors.append(f"machines [{' '.join(both)}] are used in both controlplane and workers")
    machines = list(template.of(Machine))
    errors += [
        f"machine {quoted(machine.name)} is not used in controlplane or workers"
        for machine in machines
        if machine.name not in control_planes and machine.name not in sets_of
    ]
    locked = {machine.name for machine in machines if machine.locked}
    errors += [
        f"machine {quoted(machine)} is locked and used in controlplane"
        for machine in control_planes
        if machine in locked
    ]
    return errors
