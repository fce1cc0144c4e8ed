"""Rules of the documents of the system: management, discovery, images, kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator

from talos.config import cel, gourl
from talos.config.errors import quote
from talos.config.rules import labels
from talos.config.rules.addresses import decode_base64, split_host_port
from talos.config.rules.common import Context, Rule, Values, Warn, at, nanoseconds, required_name
from talos.config.rules.containers import container
from talos.config.rules.kubernetes import pair_problem
from talos.config.rules.ocispec import spec_problem
from talos.pem import PEMError, load_certificate

_MIN_WATCHDOG_TIMEOUT = 10 * 10**9
_ENVIRONMENT_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_LEGACY_CUSTOMIZATION = "customization"
_MANAGED_ETC_FILES = ("resolv.conf", "hosts", "machine-id", "extensions.yaml", "localtime", "os-release", "xattr.conf")
_MANAGED_ETC_FOLDERS = (
    "apparmor.d",
    "apparmor",
    "ca-certificates",
    "cni",
    "cri",
    "iscsi",
    "kubernetes",
    "lvm",
    "nvme",
    "pki",
    "selinux",
    "ssl",
)


def _siderolink(values: Values, _: Context) -> Iterator[str]:
    if not (text := values.get("apiUrl")):
        yield "apiUrl is required"
        return
    url = gourl.parse(text)
    if url.scheme not in ("https", "grpc"):
        yield "apiUrl scheme must be https:// or grpc://"
    elif url.path not in ("", "/"):
        yield "apiUrl path must be empty"


def _event_sink(values: Values, _: Context) -> Iterator[str]:
    try:
        split_host_port(values.get("endpoint", ""))
    except ValueError as error:
        yield f"event sink endpoint: {error}"


def _kmsg_log(values: Values, _: Context) -> Iterator[str]:
    text = values.get("url")
    url = gourl.parse(text or "")
    if not values.get("name"):
        yield "name is required"
    elif not text:
        yield "url is required"
    elif url.scheme not in ("tcp", "udp"):
        yield "url scheme must be tcp:// or udp://"
    elif url.path not in ("", "/"):
        yield "url path must be empty"
    elif not url.port:
        yield "url port is required"


def _discovery_identity(values: Values, _: Context) -> Iterator[str]:
    secret = values.get("clusterSecret", "")
    if not values.get("clusterID"):
        yield "clusterID is required"
    elif not secret:
        yield "clusterSecret is required"
    else:
        try:
            size = len(decode_base64(secret))
        except ValueError as error:
            yield f"invalid clusterSecret: failed to decode from base64: {secret}; {error}"
            return
        if size != 32:
            yield f"invalid clusterSecret: expected 32 bytes, got {size}: {secret}"


def _discovery_service(values: Values, _: Context) -> Iterator[str]:
    text = values.get("endpoint")
    url = gourl.parse(text or "")
    if not values.get("name"):
        yield "name is required"
    elif not text:
        yield "endpoint is required"
    elif not url.scheme:
        yield "endpoint scheme is required"
    elif url.scheme not in ("http", "https", "grpc"):
        yield "endpoint scheme must be http://, https:// or grpc://"
    elif not url.hostname:
        yield "endpoint host is required"


def _unattended_install(values: Values, _: Context) -> Iterator[str]:
    if not at(values, "installer.image"):
        yield Warn(
            "installer.image is not set, if Talos is not booted from asset built by Image Factory, "
            "installation will fail"
        )
    path = "provisioning.diskSelector.match"
    if not (match := at(values, path)):
        yield f"{path} is required"
    elif problem := cel.problem(match, cel.DISK):
        yield f"{path}: {problem}"


def _environment(values: Values, _: Context) -> Iterator[str]:
    for key in values.get("variables") or {}:
        if not _ENVIRONMENT_NAME.fullmatch(key):
            yield f"invalid environment variable name: {quote(key)}"


def _etc_file(values: Values, _: Context) -> Iterator[str]:
    name = values.get("name", "")
    if not name:
        yield "user etc file name cannot be empty"
    elif name.startswith((".", "/")) or _escapes(name):
        yield f"user etc file {quote(name)} must be a local path"
    elif name in _MANAGED_ETC_FILES or name.partition("/")[0] in _MANAGED_ETC_FOLDERS:
        yield f"user etc file {quote(name)} is managed by Talos"


def _escapes(path: str) -> bool:
    """Whether a relative path leaves its folder."""
    depth = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _kernel_module(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "name is required")


def _parameters(what: str) -> Rule:
    def rule(values: Values, _: Context) -> Iterator[str]:
        if "" in (values.get("params") or {}):
            yield f"{what} key cannot be empty"

    return rule


def _oom(values: Values, _: Context) -> Iterator[str]:
    if (text := values.get("triggerExpression")) and (problem := cel.problem(text, cel.OOM_TRIGGER)):
        yield f"OOM trigger expression is invalid: {problem}"
    if (text := values.get("cgroupRankingExpression")) and (problem := cel.problem(text, cel.OOM_SCORE)):
        yield f"OOM cgroup scoring expression is invalid: {problem}"
    if nanoseconds(values.get("sampleInterval")) < 0:
        yield "OOM sample interval must be longer than 0"


def _watchdog(values: Values, _: Context) -> Iterator[str]:
    timeout = nanoseconds(values.get("timeout"))
    if not values.get("device"):
        yield "watchdog device: empty value"
    elif timeout and timeout < _MIN_WATCHDOG_TIMEOUT:
        yield "watchdog timeout: minimum value is 10s"


def _extension_service(values: Values, _: Context) -> Iterator[str]:
    name, files = values.get("name", ""), values.get("configFiles") or []
    if not name:
        yield "name is required"
        return
    if not files and not values.get("environment"):
        yield f"no config files found for extension {quote(name)}"
    for file in files:
        for key, what in (("content", "content"), ("mountPath", "mount path")):
            if not file.get(key):
                yield f"extension {what} is required for extension {quote(name)}"
                return


def _base_runtime_spec(values: Values, _: Context) -> Iterator[str]:
    if problem := spec_problem(values.get("overrides") or {}):
        yield f"failed to unmarshal base runtime spec overrides: {problem}"


def _cri_customization(values: Values, _: Context) -> Iterator[str]:
    name = values.get("name", "")
    if problem := labels.name_problem(name):
        yield f"invalid name: {problem}"
    if name == _LEGACY_CUSTOMIZATION:
        yield f"name {quote(name)} is reserved for the legacy CRI customization"


def _registry_auth(values: Values, _: Context) -> Iterator[str]:
    user, token = values.get("username"), values.get("identityToken")
    yield from required_name(values, "name must be specified")
    if user and token:
        yield "only one of username/password or identityToken authentication can be specified"
    if values.get("auth") and (user or token):
        yield "only one of auth, username/password or identityToken authentication can be specified"


def _registry_mirror(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "name must be specified")
    for index, endpoint in enumerate(values.get("endpoints") or []):
        if not (url := endpoint.get("url")):
            yield f"endpoints[{index}].url must be specified"
        elif (scheme := gourl.parse(url).scheme) not in ("http", "https"):
            yield f"endpoints[{index}].url has unsupported scheme: {quote(scheme)}"


def _registry_tls(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "name must be specified")
    if ca := values.get("ca"):
        try:
            load_certificate(ca.encode())
        except PEMError:
            yield "ca must be a valid PEM-encoded certificate"
    identity = values.get("clientIdentity")
    if identity is not None and (problem := pair_problem(identity, load=False)):
        yield f"client identity: {problem}"


def _image_verification(values: Values, _: Context) -> Iterator[str]:
    for index, rule in enumerate(values.get("rules") or []):
        where, pattern = f"rule {index}", rule.get("image", "")
        yield from _image_pattern(where, pattern)
        keyless, public_key = rule.get("keyless"), rule.get("publicKey")
        skip, deny = rule.get("skip"), rule.get("deny")
        verified = keyless is not None or public_key is not None
        if skip and deny:
            yield f"{where}: skip and deny cannot both be true"
        if (skip or deny) and verified:
            yield f"{where}: verifiers cannot be configured if skip or deny is true"
        if not (skip or deny or verified):
            yield f"{where}: at least one verifier must be configured"
        if keyless is not None and public_key is not None:
            yield f"{where}: only one of keyless or publicKey verifier can be configured"
        if keyless is not None:
            if not keyless.get("issuer"):
                yield f"{where}: verifier OIDC issuer must be specified"
            if not keyless.get("subject") and not keyless.get("subjectRegex"):
                yield f"{where}: verifier subject or subjectRegex must be specified"
        if public_key is not None and not public_key.get("certificate"):
            yield f"{where}: verifier certificates must be specified"


def _image_pattern(where: str, pattern: str) -> Iterator[str]:
    limit = "but matching only applies to the image registry and repository, not the tag or digest"
    if not pattern:
        yield f"{where}: imagePattern must be specified"
        return
    if "@" in pattern:
        yield Warn(f"{where}: imagePattern contains '@' {limit}")
    if ":" in pattern.partition("/")[2]:
        yield Warn(f"{where}: imagePattern contains ':' {limit}")
    literal, star, _ = pattern.partition("*")
    domain, slash, _ = literal.partition("/")
    known = any(char in domain for char in ".:") or domain.lower() == "localhost"
    if (slash and not known) or (not slash and not star):
        yield Warn(
            f"{where}: imagePattern {quote(pattern)} cannot match any image: references are matched in their "
            "normalized '<registry domain>/<repository>' form, e.g. 'nginx' is matched as 'docker.io/library/nginx'"
        )


RULES: dict[str, Rule] = {
    "CRIBaseRuntimeSpecConfig": _base_runtime_spec,
    "CRICustomizationConfig": _cri_customization,
    "ContainerConfig": container,
    "DiscoveryIdentityConfig": _discovery_identity,
    "DiscoveryServiceConfig": _discovery_service,
    "EnvironmentConfig": _environment,
    "EtcFileConfig": _etc_file,
    "EventSinkConfig": _event_sink,
    "ExtensionServiceConfig": _extension_service,
    "ImageVerificationConfig": _image_verification,
    "KernelModuleConfig": _kernel_module,
    "KmsgLogConfig": _kmsg_log,
    "OOMConfig": _oom,
    "RegistryAuthConfig": _registry_auth,
    "RegistryMirrorConfig": _registry_mirror,
    "RegistryTLSConfig": _registry_tls,
    "SideroLinkConfig": _siderolink,
    "SysctlConfig": _parameters("sysctl"),
    "SysfsConfig": _parameters("sysfs"),
    "UnattendedInstallConfig": _unattended_install,
    "WatchdogTimerConfig": _watchdog,
}
