"""The browsers that a person is signed in with: noted at sign-in, seen and ended by the person alone.

A new password ends all other sessions and gives the one at hand another key.
"""

from typing import Any

from allauth.account.signals import password_changed, password_set
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.identity import source_of
from apps.accounts.models import BrowserSession, User

BROWSERS = ("Firefox", "Edg", "OPR", "Chrome", "Safari", "curl")
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux")
NAMES = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS"}


@receiver([user_logged_in, password_changed, password_set])
def note(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Remember where and with what somebody signed in."""
    if request.session.session_key is None:
        request.session.save()
    BrowserSession.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={
            "user": user,
            "source": source_of(request.META)[:64],
            "browser": browser_of(request.META.get("HTTP_USER_AGENT", "")),
            "signed_in_at": timezone.now(),
        },
    )


def sessions_of(user: User) -> "QuerySet[BrowserSession]":
    """A person's sessions that are alive, the newest first. Rows of ended ones go."""
    alive = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    BrowserSession.objects.filter(user=user).exclude(session_key__in=alive).delete()
    return BrowserSession.objects.filter(user=user).order_by("-signed_in_at")


def end_others(user: User, current: str) -> int:
    """Sign a person out everywhere but in the session at hand; how many sessions that ended."""
    others = BrowserSession.objects.filter(user=user).exclude(session_key=current)
    ended, _ = Session.objects.filter(session_key__in=others.values("session_key")).delete()
    others.delete()
    return ended


def browser_of(agent: str) -> str:
    """What a User-Agent says, in a few words: `Firefox on Linux`."""
    browser = next((name for name in BROWSERS if name in agent), "")
    system = next((name for name in SYSTEMS if name in agent), "")
    words = [NAMES.get(word, word) for word in (browser, system) if word]
    return " on ".join(words) or "An unknown browser"
