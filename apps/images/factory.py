"""The Image Factory: where schematics become images."""

from urllib.parse import urlsplit

import httpx
from django.conf import settings

TIMEOUT = 30.0


class FactoryError(RuntimeError):
    """The factory did not take the schematic; the text says why and is fit for people."""


def base_url() -> str:
    """Address of the factory (setting OMNI_FACTORY_URL), without a slash at its end."""
    return str(settings.CONFIG.factory_url).rstrip("/")


def host() -> str:
    """The factory as the registry of installer images."""
    return urlsplit(base_url()).netloc


def register(canonical: str, schematic_id: str) -> None:
    """Tell the factory of a schematic; repeatable. Raises FactoryError, also when it would use another id."""
    url = f"{base_url()}/schematics"
    try:
        answer = httpx.post(
            url, content=canonical.encode(), headers={"Content-Type": "application/yaml"}, timeout=TIMEOUT
        )
    except httpx.TimeoutException:
        raise FactoryError(f"{host()} did not answer within {TIMEOUT:.0f} s") from None
    except httpx.HTTPError as error:
        raise FactoryError(f"{host()} does not answer: {error}") from None
    if answer.status_code not in (200, 201):
        raise FactoryError(f"{host()} answered {answer.status_code}: {answer.text[:200].strip()}")
    try:
        given = str(answer.json()["id"])
    except (ValueError, KeyError, TypeError):
        raise FactoryError(f"{host()} answered without a schematic id; is it an Image Factory?") from None
    if given != schematic_id:
        raise FactoryError(f"{host()} calls this schematic {given[:8]}, we call it {schematic_id[:8]}")
