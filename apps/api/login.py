"""`omni login` before anybody is signed in: ask for a token, and fetch it once a person granted it in a browser."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts import grants, login
from apps.accounts.identity import new_request_id, source_of


class LoginAskSerializer(serializers.Serializer[Any]):
    host = serializers.CharField(max_length=login.LONGEST_HOST, help_text="Name of the host that asks; shown.")


class LoginRequestSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    secret = serializers.CharField(help_text="Fetches the outcome; shown once, to nobody but the program.")
    url = serializers.CharField(help_text="Where a person decides.")
    code = serializers.CharField(help_text="To compare with the page.")
    expires_at = serializers.DateTimeField()


class LoginFetchSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(max_length=100)


class LoginOutcomeSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(
        choices=[grants.WAITING, grants.GRANTED, grants.USED, grants.REFUSED, grants.EXPIRED]
    )
    token = serializers.CharField(allow_null=True, help_text="An API token; given once, when it is granted.")
    organisation = serializers.CharField(allow_null=True, help_text="Short name of the token's organisation.")


class OpenView(APIView):
    """For anybody: what is asked here gives nothing by itself."""

    authentication_classes = []
    permission_classes = []
    http_method_names = ["post"]


class LoginRequestsView(OpenView):
    @extend_schema(
        request=LoginAskSerializer, responses={201: LoginRequestSerializer}, operation_id="login_requests_create"
    )
    def post(self, request: Request) -> Response:
        """Ask for an API token; a person who is signed in grants or refuses it at `url`."""
        given = LoginAskSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        try:
            asked, secret = login.ask_login(given.validated_data["host"], source_of(request.META))
        except grants.TooMany as error:
            raise Throttled(60, error.messages[0]) from None
        answer = {
            "id": asked.id,
            "secret": secret,
            "url": f"{settings.CONFIG.public_url}{grants.path_of(asked)}",
            "code": asked.details["code"],
            "expires_at": asked.expires_at,
        }
        return Response(LoginRequestSerializer(answer).data, status=status.HTTP_201_CREATED)


class LoginFetchView(OpenView):
    @extend_schema(request=LoginFetchSerializer, responses=LoginOutcomeSerializer, operation_id="login_requests_fetch")
    def post(self, request: Request) -> Response:
        """How far a request is. The token comes with the first answer after the grant, and never again."""
        given = LoginFetchSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        request_id = getattr(request, "request_id", "") or new_request_id()
        fetched = login.fetch_login(given.validated_data["secret"], request_id, source_of(request.META))
        if fetched is None:
            raise NotFound("no login request has this secret; start again with `omni login`")
        return Response(LoginOutcomeSerializer(fetched).data)
