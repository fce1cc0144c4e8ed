"""Rules of the documents of Kubernetes components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from talos import pem, roles
from talos.config import gourl
from talos.config.errors import quote
from talos.config.rules import labels
from talos.config.rules.addresses import endpoint_problem, is_subnet, prefix
from talos.config.rules.common import (
    Context,
    Rule,
    Values,
    Warn,
    at,
    kubernetes_image,
    required_name,
    unsupported_resources,
)

AUTHORIZER_TYPES = ("Node", "RBAC", "Webhook")
PROTECTED_KUBELET_FIELDS = (
    "apiVersion",
    "authentication",
    "authorization",
    "cgroupRoot",
    "kind",
    "kubeletCgroups",
    "port",
    "protectKernelDefaults",
    "resolvConf",
    "rotateCertificates",
    "systemCgroups",
    "staticPodPath",
    "seccompDefault",
)
_AUTHENTICATION = "use KubeAuthenticationConfig"
_AUTHORIZATION = "use KubeAuthorizerConfig"
_DENIED_ARGUMENTS = {
    "oidc-signing-algs": (
        "not supported with KubeAuthenticationConfig: kube-apiserver rejects --oidc-* flags when structured "
        "authentication configuration is used, and the configuration has no equivalent setting "
        "(all RFC 7518 asymmetric algorithms are accepted)"
    ),
    "anonymous-auth": _AUTHENTICATION,
    "oidc-": _AUTHENTICATION,
    "authentication-config": _AUTHENTICATION,
    "authorization-config": _AUTHORIZATION,
    "authorization-mode": _AUTHORIZATION,
    "authorization-webhook-": _AUTHORIZATION,
}
"""Beginnings of API server arguments that are refused, and why; the first that fits counts."""
_MIN_HOST_BITS = 4
_MAX_SERVICE_HOST_BITS = 20
_MAX_NODE_MASK_DIFFERENCE = 16
_NODE_MASKS = {4: 24, 6: 64}


def _component(what: str) -> Rule:
    """The rule of a component that runs from an image and can be disabled."""

    def rule(values: Values, context: Context) -> Iterator[str]:
        if values.get("enabled") is not False:
            yield from _image(values, what, context)
            yield from unsupported_resources(values.get("resources"))

    return rule


def _image(values: Values, what: str, context: Context) -> Iterator[str]:
    if image := values.get("image"):
        yield from kubernetes_image(image, what, context)
    else:
        yield f"{what} image cannot be empty"


def _api_server(values: Values, context: Context) -> Iterator[str]:
    yield from _image(values, "kube-apiserver", context)
    for argument in sorted(values.get("extraArgs") or {}):
        reason = next((why for start, why in _DENIED_ARGUMENTS.items() if argument.startswith(start)), None)
        if reason:
            yield f"kube-apiserver extra argument {quote(argument)} is not allowed: {reason}"
    yield from unsupported_resources(values.get("resources"))


def _kubelet(values: Values, context: Context) -> Iterator[str]:
    yield from _image(values, "kubelet", context)
    config = values.get("config") or {}
    for field in PROTECTED_KUBELET_FIELDS:
        if field in config:
            yield f"kubelet configuration field {quote(field)} can't be overridden"


def _proxy(values: Values, context: Context) -> Iterator[str]:
    if values.get("enabled") is False:
        return
    yield from _image(values, "proxy", context)
    mode = values.get("mode", "")
    if mode in ("iptables", "ipvs"):
        yield Warn(f"proxy mode {quote(mode)} is not recommended, please switch to nftables if possible")
    elif mode not in ("", "nftables"):
        yield f"invalid proxy mode {quote(mode)}: supported modes are iptables, ipvs and nftables"
    if values.get("extraArgs"):
        yield Warn("extra arguments for kube-proxy may not work as expected, please use configuration instead")
    yield from unsupported_resources(values.get("resources"))


def _admission_control(values: Values, _: Context) -> Iterator[str]:
    yield from required_name(values, "admission control plugin name is required")


def _authorizer(values: Values, _: Context) -> Iterator[str]:
    kind, webhook = values.get("type", ""), values.get("webhook")
    yield from required_name(values, "authorizer name is required")
    if not kind:
        yield "authorizer type is required"
    if kind not in AUTHORIZER_TYPES:
        yield f"authorizer type {kind} is not allowed, allowed types are [{' '.join(AUTHORIZER_TYPES)}]"
    if kind == "Webhook" and not webhook:
        yield "authorizer webhook configuration is required for Webhook authorizer type"
    if kind != "Webhook" and webhook:
        yield Warn("authorizer webhook configuration is not allowed non-Webhook authorizer types")


def _ca(values: Values, _: Context) -> Iterator[str]:
    if (issuing := values.get("issuingCA")) is not None and (problem := pair_problem(issuing, load=True)):
        yield f"issuing CA: {problem}"
    yield from _accepted_cas(values)


def _aggregator_ca(values: Values, context: Context) -> Iterator[str]:
    if values.get("issuingCA") is None:
        yield "issuing CA is not set"
    yield from _ca(values, context)


def _accepted_cas(values: Values) -> Iterator[str]:
    for index, certificate in enumerate(values.get("acceptedCAs") or []):
        if problem := _blocks_problem(certificate, ("CERTIFICATE",)):
            yield f"accepted CA #{index}: {problem}"


def pair_problem(pair: Values, load: bool) -> str | None:
    """Why a certificate and key, both PEM, cannot be used; `load` also parses them. None if they can."""
    cert, key = pair.get("cert", ""), pair.get("key", "")
    if not cert:
        return "certificate is required"
    if not key:
        return "key is required"
    if problem := _blocks_problem(cert, ("CERTIFICATE",)):
        return f"certificate: {problem}"
    if problem := _blocks_problem(key, ()):
        return f"key: {problem}"
    if load:
        try:
            pem.load_certificate(cert.encode())
        except pem.PEMError as error:
            return f"certificate is invalid: {error}"
        try:
            pem.load_key(key.encode())
        except pem.PEMError as error:
            return f"key is invalid: {error}"
    return None


def _blocks_problem(text: str, expected: tuple[str, ...]) -> str | None:
    labels_found = [label for label, _ in pem.blocks(text.encode())]
    for label in labels_found:
        if expected and label not in expected:
            wanted = " ".join(map(quote, expected))
            return f"unexpected PEM block type {quote(label)}, expected one of [{wanted}]"
    return None if labels_found else "no PEM blocks found"


def _cluster(values: Values, _: Context) -> Iterator[str]:
    if not values.get("clusterName"):
        yield "clusterName must be specified"
    endpoint = values.get("endpoint")
    if not endpoint:
        yield "endpoint must be specified"
    elif problem := endpoint_problem(endpoint):
        yield f"cluster endpoint is invalid: {problem}"


def _etcd_encryption(values: Values, _: Context) -> Iterator[str]:
    if not values.get("config"):
        yield "etcd encryption config is required"


def _manifest_name(values: Values, what: str) -> Iterator[str]:
    yield from required_name(values, f"{what} name is required")
    if (name := values.get("name")) and (problem := labels.subdomain_problem(name)):
        yield f"{what} name is invalid: {problem}"


def _external_manifest(values: Values, _: Context) -> Iterator[str]:
    yield from _manifest_name(values, "manifest")
    url = values.get("url")
    if not url:
        yield "manifest URL is required"
    elif (scheme := gourl.parse(url).scheme) not in ("http", "https"):
        yield f"manifest URL scheme must be http or https: {quote(scheme)}"


def _inline_manifest(values: Values, _: Context) -> Iterator[str]:
    yield from _manifest_name(values, "manifest")


def _static_pod(values: Values, _: Context) -> Iterator[str]:
    yield from _manifest_name(values, "static pod")
    if not values.get("pod"):
        yield "static pod spec is required"


def _flannel(values: Values, _: Context) -> Iterator[str]:
    if not values.get("backendType"):
        yield "flannel backend type must be specified"
    yield from unsupported_resources(values.get("resources"))


def _kubeprism(values: Values, _: Context) -> Iterator[str]:
    if not 0 < (port := values.get("port", 0)) <= 65535:
        yield f"invalid port {port}: must be in range 1-65535"


def _network(values: Values, _: Context) -> Iterator[str]:
    masks: dict[int, int | None] = {}
    for version, bits in ((4, 32), (6, 128)):
        size = values.get(f"nodeCIDRMaskSizeIPv{version}", 0)
        masks[version] = (size or _NODE_MASKS[version]) if 0 <= size <= bits else None
        if masks[version] is None:
            yield f"nodeCIDRMaskSizeIPv{version} must be between 1 and {bits}"
    pods, services = values.get("podSubnets") or [], values.get("serviceSubnets") or []
    for what, subnets in (("pod", pods), ("service", services)):
        if problem := _subnets_problem(subnets, masks if what == "pod" else None):
            yield f"{what} subnets: {problem}"
    if len(pods) != len(services):
        yield "the number of pod subnets must match the number of service subnets"


def _subnets_problem(subnets: list[str], node_masks: Mapping[int, int | None] | None) -> str | None:
    """The first problem of pod subnets (which are divided among nodes) or service subnets."""
    if not subnets:
        return "at least one subnet must be specified"
    if len(subnets) > 2:
        return "at most two subnets can be specified for dual-stack clusters"
    versions = []
    for text in subnets:
        if not text:
            return "invalid subnet: invalid Prefix"
        subnet = prefix(text)
        bits = subnet.network.prefixlen
        if subnet.ip != subnet.network.network_address:
            return f"invalid subnet: {text} is not a valid CIDR"
        if subnet.max_prefixlen - bits < _MIN_HOST_BITS:
            return f"invalid subnet: /{bits} is too small, it must be larger than /{bits - _MIN_HOST_BITS}"
        if node_masks is None:
            largest = subnet.max_prefixlen - _MAX_SERVICE_HOST_BITS
            if bits < largest:
                return (
                    f"invalid subnet: {text} is too large, it must be at least /{largest} "
                    f"(at most {_MAX_SERVICE_HOST_BITS} host identifier bits)"
                )
        elif (mask := node_masks[subnet.version]) is not None:
            if bits > mask:
                return f"invalid subnet: {text} is smaller than the per-node pod CIDR mask size /{mask}"
            if mask - bits > _MAX_NODE_MASK_DIFFERENCE:
                return (
                    f"invalid subnet: {text} is too large for the per-node pod CIDR mask size /{mask}, "
                    f"the difference must be at most {_MAX_NODE_MASK_DIFFERENCE} bits"
                )
        versions.append(subnet.version)
    if len(set(versions)) < len(versions):
        return "at most one IPv4 and one IPv6 subnet can be specified for dual-stack clusters"
    return None


def _node(values: Values, _: Context) -> Iterator[str]:
    for cidr in at(values, "nodeIP.validSubnets") or []:
        if not is_subnet(cidr.removeprefix("!")):
            yield f"nodeIP subnet is not valid: {quote(cidr.removeprefix('!'))}"
    yield from labels.checked("invalid node labels", labels.check_labels, values.get("labels"))
    yield from labels.checked("invalid node annotations", labels.check_annotations, values.get("annotations"))
    yield from labels.checked("invalid node taints", labels.check_taints, values.get("taints"))


def _service_account(values: Values, _: Context) -> Iterator[str]:
    key = at(values, "issuer.privateKey")
    if not key:
        yield "service issuer private key is required"
    else:
        try:
            pem.load_key(key.encode())
        except pem.PEMError as error:
            yield f"service issuer private key is invalid: {error}"
    if not at(values, "issuer.issuerURL"):
        yield "service issuer URL is required"


def _talos_api_access(values: Values, _: Context) -> Iterator[str]:
    allowed = values.get("allowedRoles") or []
    if not allowed:
        yield Warn("no roles are allowed in .allowedRoles, so access is blocked")
    for role in allowed:
        if role not in roles.ALL:
            yield f"invalid role {quote(role)} in .allowedRoles"


RULES: dict[str, Rule] = {
    "KubeAPIServerCAConfig": _ca,
    "KubeAPIServerConfig": _api_server,
    "KubeAdmissionControlConfig": _admission_control,
    "KubeAggregatorCAConfig": _aggregator_ca,
    "KubeAuthorizerConfig": _authorizer,
    "KubeClusterConfig": _cluster,
    "KubeControllerManagerConfig": _component("kube-controller-manager"),
    "KubeEtcdEncryptionConfig": _etcd_encryption,
    "KubeExternalManifestConfig": _external_manifest,
    "KubeFlannelCNIConfig": _flannel,
    "KubeInlineManifestConfig": _inline_manifest,
    "KubeNetworkConfig": _network,
    "KubeNodeConfig": _node,
    "KubePrismConfig": _kubeprism,
    "KubeProxyConfig": _proxy,
    "KubeSchedulerConfig": _component("scheduler"),
    "KubeServiceAccountConfig": _service_account,
    "KubeStaticPodConfig": _static_pod,
    "KubeTalosAPIAccessConfig": _talos_api_access,
    "KubeletConfig": _kubelet,
}
