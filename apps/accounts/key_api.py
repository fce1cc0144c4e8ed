"""REST: access keys, what proves people and programs to talosctl's and kubectl's ways in."""

from dataclasses import asdict
from typing import Any, ClassVar

import django_filters
from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from apps.accounts import keys, queries, states
from apps.accounts.models import AccessKey
from apps.api.base import TenantRequest, TenantViewSet
from apps.api.filters import TenantFilterSet
from apps.api.state import StateSerializer

KINDS = {
    AccessKey.PGP: "signs each call of talosctl",
    AccessKey.PLAIN: "signs each call, made in a browser",
    AccessKey.CERTIFICATE: "a client certificate for talosctl",
    AccessKey.KUBERNETES: "a token for the Kubernetes API of one cluster",
}


class AccessKeySerializer(serializers.ModelSerializer[AccessKey]):
    kind = serializers.ChoiceField(
        choices=list(KINDS.items()), help_text="; ".join(f"`{name}`: {text}" for name, text in KINDS.items())
    )
    user = serializers.EmailField(source="user.email", read_only=True, default=None)
    service_account = serializers.CharField(source="service_account.name", read_only=True, default=None)
    state = serializers.SerializerMethodField()
    direct = serializers.SerializerMethodField(
        help_text="Whether it is a ServiceAccount in its cluster, which works past this installation."
    )

    class Meta:
        model = AccessKey
        fields = [
            "id", "kind", "direct", "fingerprint", "name", "user", "service_account", "role", "state", "source",
            "created_at", "expires_at", "last_used_at", "revoked_at",
        ]  # fmt: skip

    @extend_schema(responses=StateSerializer)
    def get_state(self, key: AccessKey) -> dict[str, str]:
        return asdict(states.access_key_state(key, timezone.now()))

    def get_direct(self, key: AccessKey) -> bool:
        return hasattr(key, "direct")


class AccessKeyFilter(TenantFilterSet):
    """The filters of the list of access keys."""

    kind = django_filters.ChoiceFilter(choices=list(KINDS.items()), label="What it is.")
    usable = django_filters.BooleanFilter(method="filter_usable", label="Those that may be used, or those that ended.")
    service_account = django_filters.CharFilter(field_name="service_account__name", label="Of this service account.")

    class Meta:
        model = AccessKey
        fields = ["role"]

    def filter_usable(self, rows: "QuerySet[AccessKey]", name: str, wanted: bool) -> "QuerySet[AccessKey]":
        living = Q(revoked_at=None, expires_at__gt=timezone.now())
        return rows.filter(living if wanted else ~living)


class AccessKeyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Keys, certificates and tokens for talosctl and kubectl: one's own, and everybody's for admins."""

    kind = "access-key"
    verbs: ClassVar[dict[str, str]] = {
        "list": "access-key.list",
        "retrieve": "access-key.list",
        "revoke": "access-key.revoke",
    }
    serializer_class = AccessKeySerializer
    filterset_class = AccessKeyFilter
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"created": ("created_at",), "name": ("name", "id")}

    def get_queryset(self) -> QuerySet[AccessKey]:
        return keys.access_keys(self.request.actor)

    def search(self, rows: QuerySet[AccessKey], text: str) -> QuerySet[AccessKey]:
        return keys.search(rows, queries.searchable(text))

    @extend_schema(request=None, responses=AccessKeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: TenantRequest, slug: str, id: str) -> Response:
        """End a key at once, and within seconds what is open through it."""
        key: Any = self.get_object()
        keys.revoke_access_key(request.actor, key)
        return Response(self.get_serializer(key).data)
