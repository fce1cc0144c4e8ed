"""What a person gives to a machine so that it joins this installation."""

from dataclasses import dataclass

from django.conf import settings

from talos import kernelargs


@dataclass(frozen=True)
class JoinTexts:
    """The three kernel arguments on one line, and the same as configuration documents."""

    kernel_arguments: str
    documents: str


def machine_api_url() -> str:
    """Where machines find us: plain gRPC unless a certificate they can trust is configured (Talos trusts system roots
    only, so our own authority would be refused)."""
    config = settings.CONFIG
    scheme = "https" if config.trusted_certificate else "grpc"
    host = f"[{config.machine_host}]" if ":" in config.machine_host else config.machine_host
    return f"{scheme}://{host}:{config.machine_port}"


def join_arguments(token: str, tunnel: bool = False) -> JoinTexts:
    """The texts for a join token. A masked token is shown as it is, not encoded."""
    options = kernelargs.join_options(machine_api_url(), token, tunnel=tunnel)
    arguments, documents = " ".join(options.kernel_arguments()), options.documents()
    if not token.isascii():
        encoded = options.api_url.rpartition("jointoken=")[2] if options.api_url else ""
        arguments, documents = arguments.replace(encoded, token), documents.replace(encoded, token)
    return JoinTexts(arguments, documents)
