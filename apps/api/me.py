"""What a caller may ask before naming an organisation: who am I, and where do I belong."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.authentication import BrowserAuthentication, TokenAuthentication
from apps.accounts.identity import Identity, places
from apps.api.problems import NotSignedIn


class PlaceSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=["owner", "admin", "operator", "reader"])


class OrganisationsSerializer(serializers.Serializer[Any]):
    items = PlaceSerializer(many=True)


class MeSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()
    token = serializers.CharField(allow_null=True, help_text="Name of the API token in use, null in a browser.")


class SignedInView(APIView):
    """For signed-in callers, whatever their organisations."""

    authentication_classes = [TokenAuthentication, BrowserAuthentication]
    permission_classes = []
    http_method_names = ["get", "head"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        caller(request)


def caller(request: Request) -> Identity:
    """Raises `NotSignedIn`."""
    identity: object = request.auth
    if not isinstance(identity, Identity):
        raise NotSignedIn
    return identity


class MeView(SignedInView):
    @extend_schema(responses=MeSerializer, operation_id="me")
    def get(self, request: Request) -> Response:
        """The caller: the person, and the API token if one speaks for them."""
        identity = caller(request)
        token = identity.token.name if identity.token else None
        user = identity.user
        return Response(MeSerializer({"id": user.id, "email": user.email, "name": user.name, "token": token}).data)


class OrganisationsView(SignedInView):
    @extend_schema(responses=OrganisationsSerializer, operation_id="organisations_list")
    def get(self, request: Request) -> Response:
        """The organisations the caller belongs to; a token's only."""
        identity = caller(request)
        token = identity.token
        found = [p for p in places(identity.user) if token is None or p.organisation_id == token.organisation_id]
        return Response(OrganisationsSerializer({"items": found}).data)
