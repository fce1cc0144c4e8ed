"""Who calls through the proxies: access keys, and who acts with them now."""

from dataclasses import dataclass, replace
from uuid import UUID

from apps.access.actor import Actor
from apps.accounts import identity
from apps.accounts.models import AccessKey
from apps.proxies.memory import Memory
from apps.tenants import lookups
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from talos import signing

KEY_SECONDS = 60.0
"""For which a key's own facts are remembered: they never change."""

STRANGERS = 2
"""Keys that are looked up at once: anybody can name one."""


@dataclass(frozen=True)
class Key:
    """What never changes of an access key. `public` is there for those that sign."""

    id: UUID
    organisation_id: UUID
    kind: str
    name: str
    public: signing.PublicKey | None

    def nobody(self, request_id: str, source: str) -> Actor:
        """Who the audit says called with it when nobody acts with it any more."""
        return Actor("key", str(self.id), self.name, self.organisation_id, None, request_id, source)


class Ended(Exception):
    """Nobody acts with a key any more. The text, for its holder, says why."""


class Callers:
    """Keys by fingerprint and their holders, remembered for moments."""

    def __init__(self) -> None:
        self._keys = Memory(_key, KEY_SECONDS, at_once=STRANGERS)
        self._actors = Memory(_actor)
        self._used: set[tuple[UUID, UUID]] = set()

    async def key(self, fingerprint: str) -> Key | None:
        """The key of a fingerprint, whether or not it may still be used."""
        found = await self._keys.get(fingerprint)
        if found is None:
            self._keys.forget(fingerprint)  # it may be accepted any moment
        return found

    async def actor(self, key: Key, request_id: str, source: str) -> Actor:
        """Who acts with a key that was proved. Raises Ended."""
        found = await self._actors.get((key.organisation_id, key.id))
        if isinstance(found, str):
            raise Ended(found)
        self._used.add((key.organisation_id, key.id))
        return replace(found, request_id=request_id, source=source)

    def changed(self, organisation_id: UUID) -> None:
        """Its keys, members or policies are not what they were."""
        self._actors.forget_all(lambda key: key[0] == organisation_id)

    def clear(self) -> None:
        """Anything may have changed."""
        self._keys.clear()
        self._actors.clear()

    async def note_uses(self) -> None:
        """Write down which keys were used since the last time."""
        used, self._used = self._used, set()
        by_organisation: dict[UUID, list[UUID]] = {}
        for organisation_id, key_id in used:
            by_organisation.setdefault(organisation_id, []).append(key_id)

        def note() -> None:
            for organisation_id, keys in by_organisation.items():
                with tenant_scope(organisation_id):
                    identity.note_uses(keys)

        if by_organisation:
            await in_thread(note)


def _key(fingerprint: str) -> Key | None:
    found = lookups.access_key(fingerprint)
    if found is None:
        return None
    organisation_id, key_id = found
    with tenant_scope(organisation_id):
        row = AccessKey.objects.filter(id=key_id).first()
    if row is None:
        return None
    public = signing.parse_public(row.kind, bytes(row.public)) if row.kind in (AccessKey.PGP, AccessKey.PLAIN) else None
    return Key(key_id, organisation_id, row.kind, row.name, public)


def _actor(key: tuple[UUID, UUID]) -> Actor | str:
    organisation_id, key_id = key
    with tenant_scope(organisation_id):
        return identity.actors_with([key_id])[key_id]
