"""Rules of `cluster` in the v1alpha1 document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from talos.config import gourl
from talos.config.errors import quote
from talos.config.rules.addresses import endpoint_problem, is_subnet
from talos.config.rules.common import Values, Warn, at, first, unsupported_resources
from talos.config.rules.kubernetes import AUTHORIZER_TYPES

DEFAULT_DISCOVERY_ENDPOINT = "https://discovery.talos.dev/"
_DNS_NAME = re.compile(r"([a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62})*[._]?")
_ENDPOINT_REQUIRED = (
    "cluster controlplane endpoint is required (.cluster.controlPlane.endpoint); "
    "when the endpoint is migrated to the KubeClusterConfig document, the whole .cluster.controlPlane section should "
    "be removed (.cluster.controlPlane.localAPIServerPort is migrated to the KubeAPIServerConfig document)"
)
_SERVICE_ACCOUNT_WITHOUT_ENDPOINT = (
    ".cluster.serviceAccount requires the cluster endpoint to be set in the same document "
    "(.cluster.controlPlane.endpoint); when the cluster endpoint is migrated to the KubeClusterConfig document, "
    ".cluster.serviceAccount should be migrated to the KubeServiceAccountConfig document as well"
)


def cluster(values: Values, is_control_plane: bool) -> Iterator[str]:
    """Findings about the cluster section."""
    endpoint = at(values, "controlPlane.endpoint")
    if values.get("controlPlane") is not None:
        if endpoint is None:
            yield _ENDPOINT_REQUIRED
            return
        if problem := endpoint_problem(endpoint):
            yield f"invalid controlplane endpoint: {problem}"
    if values.get("serviceAccount") is not None and endpoint is None:
        yield _SERVICE_ACCOUNT_WITHOUT_ENDPOINT
    domain = at(values, "network.dnsDomain")
    if domain and not (len(domain) - domain.count(".") <= 255 and _DNS_NAME.fullmatch(domain)):
        yield f"{quote(domain)} is not a valid DNS name"
    if (provider := values.get("externalCloudProvider")) is not None:
        yield from _external_cloud_provider(provider)
    if (etcd := values.get("etcd")) is not None:
        if is_control_plane:
            yield from _etcd(etcd)
        else:
            yield "etcd config is only allowed on control plane machines"
    if not is_control_plane and at(values, "ca.key"):
        yield "cluster CA key is not allowed on non-controlplane nodes (.cluster.ca)"
    yield from _inline_manifests(values)
    yield from _discovery(values)
    yield from first(_api_server(values.get("apiServer")))
    for key, what in (("controllerManager", "controller-manager"), ("scheduler", "scheduler")):
        for problem in unsupported_resources(at(values, f"{key}.resources")):
            yield f"{what} resource validation failed: {problem}"


def cni(values: Values | None) -> Iterator[str]:
    """Findings about the CNI; an absent section is flannel."""
    values = {"name": "flannel"} if values is None else values
    name, urls = values.get("name", ""), values.get("urls") or []
    if name not in ("flannel", "custom", "none"):
        yield 'cni name should be one of ["flannel", "custom", "none"]'
        return
    if name == "custom":
        if not urls:
            yield Warn('"urls" field should not be empty for "custom" CNI')
    elif urls:
        yield f'"urls" field should be empty for "{name}" CNI'
    if name != "flannel":
        if at(values, "flannel.extraArgs"):
            yield f'"flanneldExtraArgs" field should be empty for "{name}" CNI'
        if at(values, "flannel.kubeNetworkPoliciesEnabled"):
            yield f'"flannelKubeNetworkPoliciesEnabled" should not be enabled for "{name}" CNI'
    if name == "custom":
        yield from filter(None, map(endpoint_problem, urls))


def _external_cloud_provider(provider: Values) -> Iterator[str]:
    manifests = provider.get("manifests") or []
    if manifests and not provider.get("enabled"):
        yield "external cloud provider is disabled, but manifests are provided"
        return
    for url in manifests:
        if problem := endpoint_problem(url):
            yield f"invalid external cloud provider manifest url {quote(url)}: {problem}"


def _etcd(etcd: Values) -> Iterator[str]:
    if etcd.get("ca") is None:
        yield "key/cert combination should not be empty"
    subnet, advertised = etcd.get("subnet"), etcd.get("advertisedSubnets") or []
    if subnet and advertised:
        yield "etcd subnet can't be set when advertised subnets are set"
    listen = etcd.get("listenSubnets") or advertised
    for what, cidrs in (("advertised", advertised or ([subnet] if subnet else [])), ("listen", listen)):
        for cidr in cidrs:
            if not is_subnet(cidr.removeprefix("!")):
                yield f"etcd {what} subnet is not valid: {quote(cidr.removeprefix('!'))}"


def _inline_manifests(values: Values) -> Iterator[str]:
    names: set[str] = set()
    for manifest in values.get("inlineManifests") or []:
        name = manifest.get("name", "")
        if not name.strip():
            yield "inline manifest name can't be empty"
        if name in names:
            yield f"inline manifest name {quote(name)} is duplicate"
        names.add(name)


def _discovery(values: Values) -> Iterator[str]:
    if not at(values, "discovery.enabled") or at(values, "discovery.registries.service.disabled"):
        return
    endpoint = at(values, "discovery.registries.service.endpoint") or DEFAULT_DISCOVERY_ENDPOINT
    if problem := _request_uri_problem(endpoint):
        yield f"cluster discovery service registry endpoint is invalid: {problem}"
    elif gourl.parse(endpoint).path not in ("", "/"):
        yield "cluster discovery service path should be empty"
    for key in ("id", "secret"):
        if not values.get(key):
            yield f"cluster discovery service requires .cluster.{key}"


def _request_uri_problem(text: str) -> str | None:
    """Why the text is neither an absolute URL nor an absolute path; None if it is."""
    try:
        if text and not (urlsplit(text).scheme or text.startswith("/")):
            gourl.parse(text)
            return f"parse {quote(text)}: invalid URI for request"
        gourl.parse(text)
    except ValueError as error:
        return str(error)
    return None if text else f"parse {quote(text)}: empty url"


def _api_server(values: Values | None) -> Iterator[str]:
    if values is None:
        return
    if (authorizers := values.get("authorizationConfig")) is not None:
        for argument in sorted(values.get("extraArgs") or {}):
            if argument == "authorization-mode":
                yield (
                    "authorization-mode cannot be used in conjunction with AuthorizationConfig, "
                    "use eitherr AuthorizationConfig or authorization-mode"
                )
            if argument.startswith("authorization-webhook-"):
                yield (
                    "authorization-webhook-* flags cannot be used in conjunction with AuthorizationConfig, "
                    "use either AuthorizationConfig or authorization-webhook-* flags"
                )
    for authorizer in authorizers or []:
        for problem in _authorizer(authorizer):
            yield f"apiserver authorization config validation failed: {problem}"
    for problem in unsupported_resources(values.get("resources")):
        yield f"apiserver resource validation failed: {problem}"


def _authorizer(authorizer: Values) -> Iterator[str]:
    for key in ("type", "name"):
        if not authorizer.get(key):
            yield f"authorizer {key} must be set"
    if authorizer.get("type") not in AUTHORIZER_TYPES:
        allowed = " ".join(AUTHORIZER_TYPES)
        yield f"authorizer type {authorizer.get('type', '')} is not allowed, allowed types are [{allowed}]"
