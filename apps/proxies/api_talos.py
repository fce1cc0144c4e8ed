"""REST: talosctl's way in."""

from datetime import timedelta
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from apps.accounts.authority import DEFAULT_LIFETIME, LONGEST, SHORTEST
from apps.api.base import TenantRequest, TenantViewSet
from apps.api.me import caller
from apps.clusters import queries as clusters
from apps.clusters.models import Cluster
from apps.proxies import talosconfigs


def _seconds(length: timedelta) -> int:
    return int(length.total_seconds())


class TalosconfigWishSerializer(serializers.Serializer[Any]):
    cluster = serializers.CharField(
        required=False, default="", allow_blank=True, help_text="The cluster to reach; else talosctl is told with `-c`."
    )
    proof = serializers.ChoiceField(
        choices=list(talosconfigs.PROOFS.items()),
        default=talosconfigs.KEY,
        help_text="; ".join(f"`{name}`: {text}" for name, text in talosconfigs.PROOFS.items()),
    )
    lifetime = serializers.IntegerField(
        default=_seconds(DEFAULT_LIFETIME),
        min_value=_seconds(SHORTEST),
        max_value=_seconds(LONGEST),
        error_messages={
            "min_value": "a certificate lives a minute at least",
            "max_value": f"a certificate lives {LONGEST // timedelta(hours=1)} hours at most",
        },
        help_text="Of a certificate: seconds, at most 24 hours.",
    )


class TalosconfigSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    content = serializers.CharField(help_text="A talosconfig, YAML.")
    access_key = serializers.UUIDField(allow_null=True, help_text="What revokes its certificate.")
    expires_at = serializers.DateTimeField(allow_null=True)


class TalosconfigViewSet(TenantViewSet):
    """talosctl's way to the machines of the organisation, through this installation."""

    verbs: ClassVar[dict[str, str]] = {"create": "cluster.access"}
    serializer_class = TalosconfigSerializer

    @extend_schema(
        request=TalosconfigWishSerializer, responses=TalosconfigSerializer, operation_id="talosconfig_create"
    )
    def create(self, request: TenantRequest, slug: str) -> Response:
        """The caller's talosconfig. What may be done with it follows role and policies, at each call."""
        given = TalosconfigWishSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wish, identity = given.validated_data, caller(request)
        named = Cluster.objects.filter(name=wish["cluster"])
        cluster = clusters.visible(request.actor, named).first() if wish["cluster"] else None
        if wish["cluster"] and cluster is None:
            raise NotFound(f"there is no cluster {wish['cluster']!r} here")
        session = "" if identity.token else request.session.session_key or ""
        lifetime = timedelta(seconds=wish["lifetime"])
        config, key = talosconfigs.give(request.actor, identity, cluster, wish["proof"], lifetime, session)
        answer: dict[str, Any] = {"name": "talosconfig", "content": config.to_yaml()}
        answer |= {"access_key": key and key.id, "expires_at": key and key.expires_at}
        return Response(TalosconfigSerializer(answer).data)
