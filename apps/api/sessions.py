"""Where the caller is signed in with a browser, whatever their organisations."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.policy import reaches
from apps.accounts import sessions
from apps.accounts.identity import new_request_id, places_of, source_of
from apps.accounts.models import User
from apps.api.me import SignedInView, caller


class GrantedKeySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="key.id")
    kind = serializers.CharField(source="key.kind")
    name = serializers.CharField(source="key.name")
    role = serializers.CharField(source="key.role")
    organisation = serializers.CharField(source="place.slug")
    expires_at = serializers.DateTimeField(source="key.expires_at")


class SessionSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    browser = serializers.CharField(source="row.browser")
    address = serializers.CharField(source="row.source", help_text="Address that it signed in from.")
    current = serializers.BooleanField(help_text="Whether it is the one that asks.")
    signed_in_at = serializers.DateTimeField(source="row.signed_in_at")
    last_seen_at = serializers.DateTimeField(source="row.last_seen_at", allow_null=True)
    granted = GrantedKeySerializer(many=True, help_text="Usable access keys that it granted, and that end with it.")


class SessionsSerializer(serializers.Serializer[Any]):
    items = SessionSerializer(many=True)


class EndedSerializer(serializers.Serializer[Any]):
    ended = serializers.IntegerField(help_text="How many sessions that ended.")


class SessionsView(SignedInView):
    @extend_schema(responses=SessionsSerializer, operation_id="sessions_list")
    def get(self, request: Request) -> Response:
        """The browsers that the caller is signed in with, the newest first."""
        found = sessions.sessions_of(_person(request), _current(request))
        return Response(SessionsSerializer({"items": found}).data)


class SessionView(SignedInView):
    http_method_names = ["delete"]

    @extend_schema(responses={204: None}, operation_id="sessions_end")
    def delete(self, request: Request, session_id: str) -> Response:
        """Sign the caller out of one browser, and revoke the access keys that it granted."""
        if not sessions.end_session(_person(request), session_id, _request_id(request), source_of(request.META)):
            raise NotFound(f"you have no session {session_id!r}; it may have ended")
        return Response(status=status.HTTP_204_NO_CONTENT)


class OtherSessionsView(SignedInView):
    http_method_names = ["post"]

    @extend_schema(request=None, responses=EndedSerializer, operation_id="sessions_end_others")
    def post(self, request: Request) -> Response:
        """Sign the caller out of every browser but the one that asks; of all, when a token asks."""
        person, current = _person(request), _current(request)
        ended = sessions.end_others(person, current, _request_id(request), source_of(request.META))
        return Response(EndedSerializer({"ended": ended}).data)


def _person(request: Request) -> User:
    """Raises `PermissionDenied` for a program's token that is less than its person.

    Sessions are of all their organisations. A login of `omni` is the person's own, whatever role they gave it.
    """
    identity = caller(request)
    if identity.user is None:
        raise PermissionDenied("a service account is signed in nowhere; ask as a person")
    token = identity.token
    whole = token is None or token.session_key or any(reaches(token.role, one.role) for one in places_of(identity))
    if not whole:
        raise PermissionDenied("this API token may do less than you may; ask with one of your whole role, or a browser")
    return identity.user


def _current(request: Request) -> str:
    """The session that asks, empty for a token."""
    return "" if caller(request).token else request.session.session_key or ""


def _request_id(request: Request) -> str:
    return getattr(request, "request_id", "") or new_request_id()
