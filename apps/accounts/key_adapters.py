"""What `auth.AuthService` of the gateway asks about keys."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from uuid import UUID

import grpc
from django.conf import settings
from django.db import DatabaseError

from apps.accounts import keys
from apps.accounts.models import AccessKey
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from nodeagent.authservice import AuthServer, NewKey

log = logging.getLogger(__name__)


class Keys:
    """Keys as stored; those who wait for one are woken when it is accepted."""

    def __init__(self) -> None:
        self.server = AuthServer(self, settings.CONFIG.public_url)
        self._looks: set[asyncio.Task[None]] = set()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer on this gRPC server."""
        self.server.add_to(server)

    def heard(self, key_id: UUID, organisation_id: UUID) -> None:
        """An access key is new or changed."""
        if self.server.awaited:
            task = asyncio.get_running_loop().create_task(self._look(key_id, organisation_id))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def _look(self, key_id: UUID, organisation_id: UUID) -> None:
        try:
            fingerprint = await in_thread(lambda: _fingerprint(key_id, organisation_id))
        except DatabaseError as error:
            log.warning("an accepted key cannot be looked up: %s", error)
            fingerprint = None
        self.server.wake(fingerprint)

    async def register(self, email: str, key: NewKey, source: str) -> str:
        return await in_thread(lambda: keys.register(email, key, source))

    async def accepted(self, fingerprint: str) -> bool:
        return await in_thread(lambda: keys.signing_key(fingerprint)) is not None

    async def revoke(self, metadata: Mapping[str, Sequence[str]], method: str, fingerprint: str, source: str) -> None:
        await in_thread(lambda: keys.revoke_signed(metadata, method, fingerprint, source))


def _fingerprint(key_id: UUID, organisation_id: UUID) -> str | None:
    with tenant_scope(organisation_id):
        return AccessKey.objects.filter(id=key_id).values_list("fingerprint", flat=True).first()
