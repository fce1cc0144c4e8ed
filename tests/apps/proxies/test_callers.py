"""Keys as the proxies remember them."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import AccessKey, User
from apps.proxies.callers import Callers
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread
from talos import openpgp


@pytest.mark.django_db(transaction=True)
async def test_a_key_that_was_unknown_is_found_when_it_is_accepted(
    member: Callable[..., User], organisation: Organisation
) -> None:
    """Somebody called with it before its person accepted it: it does not stay unknown."""
    user = await in_thread(lambda: member("reader"))
    public = openpgp.generate("a@b", timezone.now(), timedelta(hours=1)).public
    known = Callers()

    def accept() -> None:
        with tenant_scope(organisation.id):
            AccessKey.new(
                kind=AccessKey.PGP, fingerprint=public.fingerprint, public=public.armored.encode(), user=user,
                name="talosctl", role="reader", expires_at=timezone.now() + timedelta(hours=1),
            )  # fmt: skip

    assert await known.key(public.fingerprint) is None
    await in_thread(accept)
    found = await known.key(public.fingerprint)
    assert found
    assert found.public == public
