"""What a person gives to a machine so that it joins this installation."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from django.conf import settings

from apps.machines.models import JoinToken, Link
from apps.tenants.sealing import unseal
from talos import kernelargs, siderolink


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


def agent_command(token: str) -> str:
    """The command that runs an agent beside machines, with the fingerprint of our own authority where that signs."""
    config = settings.CONFIG
    words = [f"OMNI_AGENT_TOKEN={token} omni agent", f"--server {config.public_url}"]
    authority = config.key_folder / "ca.crt"
    if not config.trusted_certificate and authority.exists():
        certificate = x509.load_pem_x509_certificate(authority.read_bytes())
        words.append(f"--fingerprint {certificate.fingerprint(hashes.SHA256()).hex()}")
    return " \\\n  ".join([*words, "--scan 10.5.0.0/24"])


def machine_documents(link: Link) -> str:
    """The join documents for the configuration of one machine: complete, with the token it joined with.

    A configuration without the SideroLink document would end the link of a machine that joined by documents. A machine
    whose join token is gone gets the organisation's default token; it proves itself by its unique token anyway.
    """
    row = link.join_token or JoinToken.objects.filter(is_default=True).first()
    if row is None:
        return join_documents()
    token = unseal(bytes(row.sealed), row.organisation_id, row.id).decode()
    return join_arguments(token, tunnel=link.transport == "grpc").documents


def join_documents() -> str:
    """Where events and kernel logs go, as configuration documents; the link itself is left as it is."""
    return kernelargs.JoinOptions(
        api_url=None,
        event_port=siderolink.API_PORT,
        log_port=siderolink.LOG_PORT,
        host=siderolink.server_address(),
    ).documents()
