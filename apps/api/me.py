"""What a caller may ask before naming an organisation: who am I, where do I belong; and another one of theirs."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.actor import Actor
from apps.access.check import allowed
from apps.accounts.actions import revoke_api_token
from apps.accounts.authentication import BrowserAuthentication, TokenAuthentication
from apps.accounts.identity import Identity, actor_in, new_request_id, places_of, source_of
from apps.accounts.people import LONGEST_NAME, open_organisation
from apps.api.problems import NotSignedIn
from apps.tenants.scope import tenant_scope


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
    http_method_names = ["get", "post", "head"]

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
        holder = identity.service_account or identity.user
        email = identity.user.email if identity.user else None
        answer = {"id": holder.id, "email": email, "name": holder.name, "token": token} if holder else {}
        return Response(MeSerializer(answer).data)


class TokenView(SignedInView):
    http_method_names = ["delete"]

    @extend_schema(responses={204: None}, operation_id="me_token_revoke")
    def delete(self, request: Request) -> Response:
        """Revoke the API token that asks: signing a program out."""
        token = caller(request).token
        if token is None:
            raise PermissionDenied("no API token asks; sign out on the page instead")
        request_id = getattr(request, "request_id", "") or new_request_id()
        actor = actor_in(caller(request), token.organisation_id, request_id, source_of(request.META))
        if actor is not None:
            with tenant_scope(actor.organisation_id):
                revoke_api_token(actor, token)
        return Response(status=status.HTTP_204_NO_CONTENT)


class NewOrganisationSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=LONGEST_NAME)
    slug = serializers.CharField(max_length=40, help_text="Part of addresses; cannot be changed later.")


class OrganisationsView(SignedInView):
    @extend_schema(responses=OrganisationsSerializer, operation_id="organisations_list")
    def get(self, request: Request) -> Response:
        """The organisations the caller belongs to; a token's only."""
        identity = caller(request)
        return Response(OrganisationsSerializer({"items": places_of(identity)}).data)

    @extend_schema(
        request=NewOrganisationSerializer, responses={201: PlaceSerializer}, operation_id="organisations_create"
    )
    def post(self, request: Request) -> Response:
        """Make another organisation, owned by the caller, who owns one already. Its API tokens are its own.

        Needs `organisation.create` in an organisation of the caller; a token's, when a token asks.
        """
        identity = caller(request)
        given = NewOrganisationSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        if identity.user is None:
            raise PermissionDenied("a service account owns no organisation; let a person make it")
        made = open_organisation(_founder(identity, request), identity.user, values["name"], values["slug"])
        answer = {"slug": made.slug, "name": made.name, "role": "owner"}
        return Response(PlaceSerializer(answer).data, status=status.HTTP_201_CREATED)


def _founder(identity: Identity, request: Request) -> Actor:
    """The caller where they may do most. Raises `PermissionDenied` for somebody without any place."""
    request_id = getattr(request, "request_id", "") or new_request_id()
    source = source_of(request.META)
    actors = [actor_in(identity, place.organisation_id, request_id, source) for place in places_of(identity)]
    able = sorted((actor for actor in actors if actor), key=lambda actor: allowed(actor, "organisation.create"))
    if not able:
        raise PermissionDenied("organisation.create needs owner of an organisation, and you are in none")
    return able[-1]
