"""Signing in to REST: a Bearer token, or the browser's session with its CSRF check."""

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.accounts.identity import Identity, from_token
from apps.accounts.models import User
from apps.accounts.sessions import note_seen


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer omni_...`; `request.auth` becomes the `Identity`. A service account is no user."""

    def authenticate(self, request: Request) -> tuple[User | None, Identity] | None:
        secret = bearer(request.META.get("HTTP_AUTHORIZATION", ""))
        if secret is None:
            return None
        identity = from_token(secret)
        if identity is None:
            raise AuthenticationFailed("this API token is unknown, expired or revoked; make a new one")
        return identity.user, identity

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class BrowserAuthentication(SessionAuthentication):
    """The session cookie; changes need the CSRF token, as forms do."""

    def authenticate(self, request: Request) -> tuple[User, Identity] | None:
        found = super().authenticate(request)
        if found is None or not isinstance(found[0], User):
            return None
        note_seen(request.session.session_key)
        return found[0], Identity(found[0])


def bearer(header: str) -> str | None:
    """The token of an Authorization header, None for another scheme."""
    scheme, _, secret = header.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret.strip() else None


def session_identity(request: HttpRequest) -> Identity | None:
    """The signed-in person of a page's request. Notes that the session was used."""
    if not isinstance(request.user, User) or not request.user.is_active:
        return None
    note_seen(request.session.session_key)
    return Identity(request.user)
