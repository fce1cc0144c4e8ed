"""Names of service accounts in the form that ``omnictl`` and its signed requests use.

Users write ``ci``, or ``infra-provider:aws-1`` for the account of an infrastructure provider. Requests carry an address
made of it: ``ci@serviceaccount.omni.sidero.dev``.
"""

from dataclasses import dataclass

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
