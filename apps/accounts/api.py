"""REST: members and API tokens."""

from dataclasses import asdict
from typing import Any, ClassVar

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.response import Response

from apps.accounts import actions, queries, states
from apps.accounts.key_api import AccessKeyViewSet
from apps.accounts.models import ROLE_CHOICES, ApiToken, Membership, User
from apps.accounts.service_account_api import ServiceAccountViewSet
from apps.accounts.token_serializers import ApiTokenSerializer, NewApiTokenSerializer
from apps.api.base import TenantRequest, TenantViewSet
from apps.api.filters import TenantFilterSet
from apps.api.routing import TenantRouter
from apps.api.state import StateSerializer

router = TenantRouter()
router.resource("service-accounts")(ServiceAccountViewSet)
router.resource("access-keys")(AccessKeyViewSet)


class MemberSerializer(serializers.ModelSerializer[Membership]):
    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)
    state = serializers.SerializerMethodField()
    last_sign_in_at = serializers.DateTimeField(source="user.last_login", read_only=True)
    invited_until = serializers.DateTimeField(
        read_only=True, default=None, help_text="When the link of somebody who did not come yet ends."
    )
    tokens = serializers.IntegerField(read_only=True, default=0, help_text="Usable API tokens that act for them here.")

    class Meta:
        model = Membership
        fields = ["id", "email", "name", "role", "state", "created_at", "last_sign_in_at", "invited_until", "tokens"]

    @extend_schema(responses=StateSerializer)
    def get_state(self, member: Membership) -> dict[str, str]:
        until = getattr(member, "invited_until", None)
        return asdict(states.member_state(member, until, timezone.now()))


class InvitationSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=ROLE_CHOICES)


class InvitedSerializer(serializers.Serializer[Any]):
    member = MemberSerializer()
    sign_in_path = serializers.CharField(help_text="Path of the one-time link that lets them in; shown once.")


class RevokedSerializer(serializers.Serializer[Any]):
    tokens = serializers.IntegerField(help_text="API tokens that ended.")
    keys = serializers.IntegerField(help_text="Access keys that ended.")


@router.resource("members")
class MemberViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """The people of the organisation and their roles."""

    kind = "member"
    verbs: ClassVar[dict[str, str]] = {
        "list": "member.list",
        "retrieve": "member.list",
        "create": "member.invite",
        "partial_update": "member.update",
        "destroy": "member.remove",
        "link": "member.invite",
        "revoke": "member.update",
    }
    serializer_class = MemberSerializer
    filterset_fields = ["role"]
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"email": ("user__email",), "joined": ("created_at",)}

    def get_queryset(self) -> QuerySet[Membership]:
        return queries.members()

    def search(self, rows: QuerySet[Membership], text: str) -> QuerySet[Membership]:
        return queries.search_members(rows, text)

    @extend_schema(request=InvitationSerializer, responses={201: InvitedSerializer})
    def create(self, request: TenantRequest, slug: str) -> Response:
        """Invite somebody: they have the role from when they open the link. An account is made where there is none."""
        given = InvitationSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        invited = actions.add_member(request.actor, given.validated_data["email"], given.validated_data["role"])
        member = queries.members().get(id=invited.membership.id)
        answer = {"member": member, "sign_in_path": invited.sign_in_path}
        return Response(InvitedSerializer(answer).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=InvitedSerializer)
    @action(detail=True, methods=["post"])
    def link(self, request: TenantRequest, slug: str, id: str) -> Response:
        """A new one-time link for somebody who did not come yet; the one given before ends."""
        path = actions.renew_invitation(request.actor, self.get_object())
        return Response(InvitedSerializer({"member": queries.members().get(id=id), "sign_in_path": path}).data)

    @extend_schema(request=None, responses=RevokedSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: TenantRequest, slug: str, id: str) -> Response:
        """Revoke every API token and access key of a member here; they stay a member."""
        tokens, keys = actions.revoke_credentials(request.actor, self.get_object())
        return Response(RevokedSerializer({"tokens": tokens, "keys": keys}).data)

    def partial_update(self, request: TenantRequest, slug: str, id: str) -> Response:
        """Change a member's role."""
        membership = self.get_object()
        given = self.get_serializer(membership, data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        actions.update_member(request.actor, membership, given.validated_data.get("role", membership.role))
        return Response(self.get_serializer(membership).data)

    def destroy(self, request: TenantRequest, slug: str, id: str) -> Response:
        """End a membership and revoke that person's API tokens and access keys here."""
        actions.remove_member(request.actor, self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class ApiTokenFilter(TenantFilterSet):
    """The filters of the list of API tokens."""

    view = django_filters.ChoiceFilter(
        choices=[(name, name) for name in queries.VIEWS],
        method="filter_view",
        label="Usable ones, those ending soon, those never used, those that ended.",
    )

    service_account = django_filters.CharFilter(
        field_name="service_account__name", label="Of the service account with this name."
    )

    class Meta:
        model = ApiToken
        fields = ["role"]

    def filter_view(self, rows: "QuerySet[ApiToken]", name: str, view: str) -> "QuerySet[ApiToken]":
        return queries.view_of_api_tokens(rows, view)


@router.resource("api-tokens")
class ApiTokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Credentials for programs: one's own, and everybody's for admins."""

    kind = "api-token"
    verbs: ClassVar[dict[str, str]] = {
        "list": "api-token.list",
        "retrieve": "api-token.list",
        "create": "api-token.create",
        "revoke": "api-token.revoke",
    }
    serializer_class = ApiTokenSerializer
    filterset_class = ApiTokenFilter
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"created": ("created_at",), "name": ("name",)}

    def get_queryset(self) -> QuerySet[ApiToken]:
        return queries.api_tokens(self.request.actor)

    def search(self, rows: QuerySet[ApiToken], text: str) -> QuerySet[ApiToken]:
        return queries.search_api_tokens(rows, text)

    @extend_schema(request=NewApiTokenSerializer, responses={201: NewApiTokenSerializer})
    def create(self, request: TenantRequest, slug: str) -> Response:
        """Make a token that acts for the caller, with a role no higher than the caller's."""
        given = NewApiTokenSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        if not isinstance(request.user, User):
            raise ValidationError("a service account gets its tokens from an admin: omni serviceaccounts token")
        made = actions.create_api_token(
            request.actor, request.user, values["name"], values["role"], values.get("expires_at")
        )
        answer = NewApiTokenSerializer(made.row).data | {"secret": made.secret}
        return Response(answer, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=ApiTokenSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: TenantRequest, slug: str, id: str) -> Response:
        """End a token at once."""
        token = self.get_object()
        actions.revoke_api_token(request.actor, token)
        return Response(self.get_serializer(token).data)
