"""Finding out what answers at an address where a Talos machine may be, without doing anything to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from nodeagent import errors, tls
from nodeagent.client import NodeClient
from nodeagent.identity import Connect, Hardware, once, read_hardware
from nodeagent.siderolink.decide import valid_uuid
from nodeagent.tls import Credentials, TlsStream
from nodeagent.tunnel.protocol import plain
from talos.resources import types

PATIENCE = 20.0
"""Seconds for all that is asked of one address."""

Mode = Literal["", "maintenance", "secure", "foreign"]
"""Nothing answers; no configuration yet; that of a cluster of ours; that of somebody else."""


@dataclass(frozen=True)
class Found:
    """What an address showed. `opens`: its port accepts connections. `error` says why nothing more is known.

    Whatever the machine says itself is a UUID or none, and short printable text.
    """

    opens: bool = False
    mode: Mode = ""
    authority: str = ""  # of a secure machine: the name of the authority that proves it
    hardware: Hardware = field(default_factory=Hardware)
    version: str = ""
    error: str = ""


Authorities = Callable[[], Awaitable[Mapping[str, Credentials]]]
"""Gives what proves us to each of our clusters, by any name; it is asked only where somebody's cluster shows itself."""


async def probe(connect: Connect, authorities: Authorities, name: str) -> Found:
    """Look at what `connect` reaches; `name` is how errors call it. What `authorities` raises goes through, no more."""
    opens = False

    async def opening() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        nonlocal opens
        stream = await connect()
        opens = True
        return stream

    try:
        async with asyncio.timeout(PATIENCE):
            return await _look(opening, authorities, name)
    except TimeoutError:
        return Found(opens, error=f"no answer in {PATIENCE:g} s")
    except errors.NodeError as error:
        return Found(opens, error=plain(str(error)))
    except OSError as error:
        return Found(opens, error=errors.from_connection(name, "looking", error).detail)


async def _look(connect: Connect, authorities: Authorities, name: str) -> Found:
    shown = await _shown_certificate(connect)
    if shown is None:
        return Found(opens=True, error="it does not speak TLS as a Talos machine does")
    held = await authorities() if list(shown.issuer) else {}  # without configuration there is no name in it
    authority = next((known for known, one in held.items() if _issued(shown, one.ca)), None)
    try:
        async with NodeClient(once(connect), held[authority] if authority else None, name=name) as client:
            hardware = await read_hardware(client)
            if not valid_uuid(hardware.uuid):
                hardware = replace(hardware, uuid="")
            mode: Mode = "secure" if authority else "maintenance"
            return Found(True, mode, authority or "", hardware, plain(await version(client)))
    except errors.WrongTrust as error:
        return Found(True, "foreign", error=plain(error.detail or str(error)))


async def version(client: NodeClient) -> str:
    """The Talos version with its leading v; empty where the machine tells it to nobody of our role."""
    try:
        return (await client.version()).tag
    except (errors.Denied, errors.Unsupported):  # to readers, in maintenance mode, up to Talos 1.12
        try:
            spec = (await client.get(types.VERSION)).spec
            return str(spec.get("version", "")) if isinstance(spec, dict) else ""
        except (errors.Denied, errors.Unsupported, errors.NotFound):
            return ""


async def _shown_certificate(connect: Connect) -> x509.Certificate | None:
    """The certificate that is shown to anybody; it proves nothing yet. None for nothing that can be read as one."""
    reader, writer = await connect()
    try:
        stream = TlsStream(reader, writer, tls.client_context(None, False))
        await stream.handshake()
        certificate = stream.peer_certificate()
        return certificate if certificate and certificate.issuer is not None else None
    except ValueError:  # TLS itself minds less what is in it
        return None
    finally:
        writer.close()


def _issued(certificate: x509.Certificate, authorities: bytes) -> bool:
    for authority in x509.load_pem_x509_certificates(authorities):
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return True
    return False
