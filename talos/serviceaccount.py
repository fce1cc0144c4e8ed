"""Names of service accounts in the form that ``omnictl`` and its signed requests use.

Users write ``ci``, or ``infra-provider:aws-1`` for the account of an infrastructure provider. Requests carry an address
made of it: ``ci@serviceaccount.omni.sidero.dev``. What such an account signs with is one text: its name and key.
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta

from talos import gojson, openpgp

INFRA_PROVIDER_PREFIX = "infra-provider:"
_SUFFIX = "@serviceaccount.omni.sidero.dev"
_INFRA_PROVIDER_SUFFIX = "@infra-provider.serviceaccount.omni.sidero.dev"


@dataclass(frozen=True)
class ServiceAccount:
    """A service account by its base name."""

    base_name: str
    is_infra_provider: bool = False

    @property
    def name(self) -> str:
        """The name that users write."""
        return (INFRA_PROVIDER_PREFIX if self.is_infra_provider else "") + self.base_name

    @property
    def suffix(self) -> str:
        return _INFRA_PROVIDER_SUFFIX if self.is_infra_provider else _SUFFIX

    @property
    def full_id(self) -> str:
        """The address under which it signs requests."""
        return self.base_name + self.suffix


def from_name(name: str) -> ServiceAccount:
    """The account that a user's name means."""
    provider = name.startswith(INFRA_PROVIDER_PREFIX)
    return ServiceAccount(name.removeprefix(INFRA_PROVIDER_PREFIX), provider)


def from_full_id(full_id: str) -> ServiceAccount | None:
    """The account behind an address, None when the address is a person's."""
    for suffix, provider in ((_INFRA_PROVIDER_SUFFIX, True), (_SUFFIX, False)):
        if full_id.endswith(suffix):
            return ServiceAccount(full_id.removesuffix(suffix), provider)
    return None


def new_key(name: str, now: datetime, lifetime: timedelta) -> openpgp.PrivateKey:
    """A key for the account that a user's name means."""
    account = from_name(name)
    return openpgp.generate(f"{account.base_name} <{account.full_id}>", now, lifetime)


def key_text(name: str, key: openpgp.PrivateKey) -> str:
    """What clients are given in `SIDERO_SERVICE_ACCOUNT_KEY` or `OMNI_SERVICE_ACCOUNT_KEY`."""
    return base64.b64encode(gojson.dumps({"name": name, "pgp_key": key.armored}).encode()).decode()


def read_key(text: str) -> tuple[str, openpgp.PrivateKey]:
    """The name and key in such a text. Raises ValueError."""
    try:
        fields = gojson.loads(base64.b64decode(text, validate=True))
    except ValueError:
        raise ValueError("this is not the key of a service account; was it copied whole?") from None
    if not isinstance(fields, dict):
        raise ValueError("this is not the key of a service account")
    name = gojson.string(gojson.field(fields, "name"), "name")
    return name, openpgp.read_private(gojson.string(gojson.field(fields, "pgp_key"), "pgp_key").encode())
