"""What proves people and programs to us: how it is stored, whether it is enough, and how it ends with its holder."""

import hashlib
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import AccessKey, ApiToken, User
from apps.reconcile.outbox import changed

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
"""What is asked for at sign-in besides a password; recovery codes stand in for these."""


def has_second_factor(user: User) -> bool:
    """Whether a person is asked for more than a password."""
    return Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists()


def token_hash(secret: str) -> bytes:
    """What is stored of a token: 32 random bytes need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def revoke_all_of(user: User, organisation_id: UUID) -> tuple[int, int]:
    """End a person's API tokens and access keys in the organisation in scope; how many of each there were."""
    now = timezone.now()
    tokens = list(ApiToken.objects.filter(user=user, revoked_at=None))
    keys = list(AccessKey.objects.filter(user=user, revoked_at=None))
    ApiToken.objects.filter(id__in=[row.id for row in tokens]).update(revoked_at=now)
    AccessKey.objects.filter(id__in=[row.id for row in keys]).update(revoked_at=now)
    for token in tokens:
        changed("api-token", token.id, organisation_id)
    for key in keys:
        changed("access-key", key.id, organisation_id)
    return len(tokens), len(keys)


def revoke_all_of_session(session_key: str, organisation_id: UUID) -> int:
    """End what a browser session let in, in the organisation in scope: access keys, and API tokens of `omni login` with
    the keys that these got. Open streams end with them. How many there were."""
    if not session_key:
        return 0
    now = timezone.now()
    tokens = list(ApiToken.objects.filter(session_key=session_key, revoked_at=None))
    granted = Q(session_key=session_key) | Q(api_token__in=tokens)
    keys = list(AccessKey.objects.filter(granted, revoked_at=None))
    ApiToken.objects.filter(id__in=[token.id for token in tokens]).update(revoked_at=now)
    AccessKey.objects.filter(id__in=[key.id for key in keys]).update(revoked_at=now)
    for token in tokens:
        changed("api-token", token.id, organisation_id)
    for key in keys:
        changed("access-key", key.id, organisation_id)
    return len(tokens) + len(keys)
