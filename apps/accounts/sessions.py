"""The browsers that a person is signed in with, and what ends with them.

A session that is ended from elsewhere, and a new password, end the access keys and logins of `omni` that it granted,
and with them open streams. Who signs out by themselves leaves their terminal's keys as they are.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from allauth.account.signals import password_changed, password_set
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.credentials import revoke_all_of_session
from apps.accounts.identity import Place, places, source_of
from apps.accounts.models import AccessKey, ApiToken, BrowserSession, GrantRequest, User
from apps.accounts.people import record_own
from apps.tenants.scope import tenant_scope

BROWSERS = ("Firefox", "Edg", "OPR", "Chrome", "Safari", "curl")
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux")
NAMES = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS"}
SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Granted:
    """An access key that a session let in, and its organisation."""

    key: AccessKey
    place: Place


@dataclass(frozen=True)
class SignedIn:
    """A browser that a person is signed in with, and the usable access keys that it granted."""

    row: BrowserSession
    current: bool
    granted: list[Granted] = field(default_factory=list)

    @property
    def id(self) -> str:
        """What it is called outside: its key is a secret."""
        return public_id(self.row.session_key)


def public_id(session_key: str) -> str:
    """The name of a session that may be shown."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:16]


@receiver(user_logged_in, dispatch_uid="note sign-in")
def note(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Remember where and with what somebody signed in."""
    if request.session.session_key is None:
        request.session.save()
    now = timezone.now()
    BrowserSession.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={
            "user": user,
            "source": source_of(request.META)[:64],
            "browser": browser_of(request.META.get("HTTP_USER_AGENT", "")),
            "signed_in_at": now,
            "last_seen_at": now,
        },
    )


def note_seen(session_key: str | None) -> None:
    """Remember that a session was used, at most once a minute."""
    now = timezone.now()
    unnoted = Q(last_seen_at=None) | Q(last_seen_at__lt=now - SEEN_EVERY)
    BrowserSession.objects.filter(unnoted, session_key=session_key).update(last_seen_at=now)


@receiver(user_logged_out, dispatch_uid="release keys")
def _release(sender: Any, request: HttpRequest, user: User | None, **_: Any) -> None:
    """Who signs out keeps the keys that they granted: these are no session's any more."""
    session_key = request.session.session_key
    if user is None or not session_key:
        return
    BrowserSession.objects.filter(session_key=session_key).delete()
    for place in places(user):
        with tenant_scope(place.organisation_id):
            AccessKey.objects.filter(session_key=session_key).update(session_key="")
            ApiToken.objects.filter(session_key=session_key).update(session_key="")
    GrantRequest.objects.filter(session_key=session_key).update(session_key="")


@receiver([password_changed, password_set], dispatch_uid="new password")
def _new_password(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """A new password ends every session but the one at hand, and the keys that any of them granted."""
    _end(user, BrowserSession.objects.filter(user=user).exclude(session_key=request.session.session_key))
    note(sender, request, user)
    record_own(user, "account.password", getattr(request, "request_id", ""), source_of(request.META))


def sessions_of(user: User, current: str = "") -> list[SignedIn]:
    """A person's sessions that are alive, the newest first. Rows of ended ones go."""
    alive = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    BrowserSession.objects.filter(user=user).exclude(session_key__in=alive).delete()
    found = [
        SignedIn(row, row.session_key == current)
        for row in BrowserSession.objects.filter(user=user).order_by("-signed_in_at")
    ]
    by_key = {one.row.session_key: one for one in found}
    for place in places(user):
        with tenant_scope(place.organisation_id):
            usable = AccessKey.objects.filter(revoked_at=None, expires_at__gt=timezone.now(), session_key__in=by_key)
            for key in usable.order_by("-created_at"):
                by_key[key.session_key].granted.append(Granted(key, place))
    return found


def end_session(user: User, public: str, request_id: str = "", source: str = "") -> bool:
    """Sign a person out of one browser, and end the access keys that it granted; whether there was such a session.

    Call it outside any organisation's scope.
    """
    rows = BrowserSession.objects.filter(user=user)
    wanted = [row.session_key for row in rows if public_id(row.session_key) == public]
    return _end_and_record(user, rows.filter(session_key__in=wanted), request_id, source) > 0


def end_others(user: User, current: str, request_id: str = "", source: str = "") -> int:
    """Sign a person out everywhere but in the session at hand, as `end_session` does; how many sessions that ended."""
    return _end_and_record(
        user, BrowserSession.objects.filter(user=user).exclude(session_key=current), request_id, source
    )


def _end_and_record(user: User, rows: "QuerySet[BrowserSession]", request_id: str, source: str) -> int:
    browsers = [row.browser for row in rows]
    ended = _end(user, rows)
    if browsers:
        record_own(user, "account.session-end", request_id, source, browsers=browsers, keys=ended)
    return len(browsers)


def _end(user: User, rows: "QuerySet[BrowserSession]") -> int:
    """End sessions; how many access keys and API tokens ended with them."""
    keys: Iterable[str] = list(rows.values_list("session_key", flat=True))
    ended = 0
    for place in places(user):
        with tenant_scope(place.organisation_id):
            ended += sum(revoke_all_of_session(key, place.organisation_id) for key in keys)
    Session.objects.filter(session_key__in=keys).delete()
    BrowserSession.objects.filter(session_key__in=keys).delete()
    return ended


def browser_of(agent: str) -> str:
    """What a User-Agent says, in a few words: `Firefox on Linux`."""
    browser = next((name for name in BROWSERS if name in agent), "")
    system = next((name for name in SYSTEMS if name in agent), "")
    words = [NAMES.get(word, word) for word in (browser, system) if word]
    return " on ".join(words) or "An unknown browser"
