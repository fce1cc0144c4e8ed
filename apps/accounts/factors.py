"""Second factors of people: what they set up, what changes of them leave in the audit, and the way back in."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.dispatch import receiver
from django.http import HttpRequest

from apps.accounts.identity import source_of
from apps.accounts.models import User
from apps.accounts.people import record_own

WORDS = {
    Authenticator.Type.TOTP: "authenticator app",
    Authenticator.Type.WEBAUTHN: "passkey",
    Authenticator.Type.RECOVERY_CODES: "recovery codes",
}


def second_factors(user: User) -> list[str]:
    """What a person has set up, in words."""
    found = Authenticator.objects.filter(user_id=user.pk).values_list("type", flat=True)
    return [WORDS[Authenticator.Type(kind)] for kind in sorted(set(found))]


def reset_second_factor(user: User, by: str) -> int:
    """Take every second factor and recovery code of a person away; how many there were.

    For somebody who lost them all and asks whoever runs the server, named by `by`.
    """
    _, counts = Authenticator.objects.filter(user_id=user.pk).delete()
    record_own(user, "account.second-factor", change="reset", by=by)
    return counts.get(Authenticator._meta.label, 0)


@receiver(authenticator_added, dispatch_uid="second factor added")
def _added(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    _record(request, user, authenticator, "added")


@receiver(authenticator_removed, dispatch_uid="second factor removed")
def _removed(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    _record(request, user, authenticator, "removed")


@receiver(authenticator_reset, dispatch_uid="recovery codes made anew")
def _renewed(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    _record(request, user, authenticator, "made anew")


def _record(request: HttpRequest, user: User, authenticator: Authenticator, change: str) -> None:
    what = WORDS[Authenticator.Type(authenticator.type)]
    request_id = getattr(request, "request_id", "")
    record_own(user, "account.second-factor", request_id, source_of(request.META), change=change, what=what)
