"""What a machine is told so that it joins: three kernel arguments, or three configuration documents that say the same.

``siderolink.api`` names the machine API with the join token in its query; ``talos.events.sink`` and
``talos.logging.kernel`` name the two receivers on the overlay.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from talos import jointoken, siderolink

API = "siderolink.api"
EVENTS = "talos.events.sink"
LOGS = "talos.logging.kernel"

PROTECTED = (API, EVENTS, LOGS, "talos.config", "talos.config.early", "talos.config.inline")
"""Arguments that belong to the control plane: kept apart from the extra arguments of users."""

_LOG_DOCUMENT_NAME = "omni-kmsg"


@dataclass(frozen=True)
class JoinOptions:
    """Where a machine shall join. ``api_url`` is None where it is configured elsewhere; the host is on the overlay."""

    api_url: str | None = field(repr=False)
    event_port: int
    log_port: int
    host: IPv6Address

    def kernel_arguments(self) -> list[str]:
        """The arguments in the order in which they are written."""
        arguments = [f"{EVENTS}=[{self.host}]:{self.event_port}", f"{LOGS}=tcp://[{self.host}]:{self.log_port}"]
        return arguments if self.api_url is None else [f"{API}={self.api_url}", *arguments]

    def documents(self) -> str:
        """The same as configuration documents, YAML."""
        documents = [
            f"apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: '[{self.host}]:{self.event_port}'\n",
            f"apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: {_LOG_DOCUMENT_NAME}\n"
            f"url: tcp://[{self.host}]:{self.log_port}\n",
        ]
        if self.api_url is not None:
            documents.insert(0, f"apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: {self.api_url}\n")
        return "---\n".join(documents)


def join_options(
    url: str | None,
    token: str,
    *,
    event_port: int = siderolink.API_PORT,
    log_port: int = siderolink.LOG_PORT,
    tunnel: bool = False,
    provider: str = "",
    machine_request: str = "",
    signed_form: str = "2",
    installation: str = "",
) -> JoinOptions:
    """How to join at the machine API under ``url`` (None: leave that argument out) with a join token.

    A plain token is signed over the provider and the machine request where these are given; a signed one stays as it
    is. Raises ValueError for what is missing or does not parse.
    """
    if not token:
        raise ValueError("no join token")
    if url is not None and not url:
        raise ValueError("no machine API URL")
    if not event_port:
        raise ValueError("no events server port")
    if not log_port:
        raise ValueError("no log server port")
    parsed = jointoken.parse(token)
    extra = {jointoken.PROVIDER_KEY: provider, jointoken.MACHINE_REQUEST_KEY: machine_request}
    extra = {key: value for key, value in extra.items() if value}
    if extra and parsed.version == "plain":
        token = jointoken.sign(token, extra, signed_form).encode()
    return JoinOptions(
        api_url=None if url is None else _api_url(url, token, tunnel),
        event_port=event_port,
        log_port=log_port,
        host=siderolink.server_address(installation),
    )


def _api_url(url: str, token: str, tunnel: bool) -> str:
    parts = urlsplit(url)
    if not parts.scheme:
        raise ValueError(f'parse "{_shown(url)}": missing protocol scheme')
    if not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError(f'machine API URL "{_shown(url)}" has no usable host')
    if parts.port == 0:
        raise ValueError(f'machine API URL "{_shown(url)}" has no usable port')
    query = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key != "jointoken"]
    query.append(("jointoken", token))
    if tunnel:
        query = [(key, value) for key, value in query if key != "grpc_tunnel"] + [("grpc_tunnel", "true")]
    query.sort(key=lambda pair: pair[0])
    return urlunsplit(parts._replace(query=urlencode(query)))


def _shown(url: str) -> str:
    """A URL without its query, which holds the token."""
    return url.partition("?")[0]


@dataclass(frozen=True)
class MachineAPI:
    """The machine API as a machine understands its URL."""

    host: str
    port: int
    tls: bool
    join_token: str = field(default="", repr=False)
    tunnel: bool = False
    """The machine asks for WireGuard inside gRPC."""


@dataclass(frozen=True)
class JoinConfig:
    """What a machine was told; None where it was told nothing. Addresses are (host, port)."""

    api: MachineAPI | None = None
    events: tuple[str, int] | None = None
    logs: tuple[str, int] | None = None


def parse_api_url(url: str) -> MachineAPI:
    """Read a ``siderolink.api`` value the way Talos does; raises ValueError if it is no such URL."""
    if "://" not in url:
        url = f"grpc://{url}"
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f'machine API URL "{_shown(url)}" has no host')
    # The last of several equal keys is as good as any: nobody writes them twice.
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return MachineAPI(
        host=parts.hostname,
        port=parts.port or 443,
        tls=parts.scheme != "grpc",
        join_token=query.get("jointoken", ""),
        tunnel=query.get("grpc_tunnel") in ("true", "y"),
    )


def parse_kernel_arguments(command_line: str) -> JoinConfig:
    """Find the joining arguments on a kernel command line; of a repeated argument the first counts."""
    arguments: dict[str, str] = {}
    for word in command_line.split():
        name, _, value = word.partition("=")
        arguments.setdefault(name, value)
    api, events, logs = arguments.get(API), arguments.get(EVENTS), arguments.get(LOGS)
    return JoinConfig(
        api=parse_api_url(api) if api else None,
        events=_host_port(f"//{events}") if events else None,
        logs=_host_port(logs) if logs else None,
    )


def parse_documents(documents: Iterable[Mapping[str, object]]) -> JoinConfig:
    """Find the joining documents among parsed configuration documents; other kinds are passed over."""
    by_kind = {document.get("kind"): document for document in documents}
    api = by_kind.get("SideroLinkConfig", {}).get("apiUrl")
    events = by_kind.get("EventSinkConfig", {}).get("endpoint")
    logs = by_kind.get("KmsgLogConfig", {}).get("url")
    return JoinConfig(
        api=parse_api_url(str(api)) if api else None,
        events=_host_port(f"//{events}") if events else None,
        logs=_host_port(str(logs)) if logs else None,
    )


def _host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if not parts.hostname or parts.port is None:
        raise ValueError(f'"{url.removeprefix("//")}" is not of the form host:port')
    return parts.hostname, parts.port


def is_protected(argument: str) -> bool:
    """Whether a kernel argument belongs to the control plane rather than to users."""
    return argument.partition("=")[0] in PROTECTED
