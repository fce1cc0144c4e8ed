"""REST: KubeSpan of a cluster, on and off; a part of the mesh's viewset."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from apps.api.base import TenantRequest
from apps.clusters.discovery import told, urls
from apps.clusters.models import Cluster
from apps.mesh.kubespan import notes, read, turn_off, write
from talos.config.kubespan import DEFAULT_MTU, KubeSpan

MOST = 64
"""Entries of one list; a discovery service keeps so many endpoints of a node."""


class KubeSpanSerializer(serializers.Serializer[Any]):
    """The mesh that a cluster's nodes form."""

    enabled = serializers.BooleanField(read_only=True, help_text="Turned on here.")
    mtu = serializers.IntegerField(
        required=False, default=None, allow_null=True, help_text=f"Bytes; null is Talos' own, {DEFAULT_MTU}."
    )
    allow_down_peer_bypass = serializers.BooleanField(
        required=False, default=False, help_text="While a tunnel is down, traffic to that node goes in clear."
    )
    advertise_kubernetes_networks = serializers.BooleanField(
        required=False, default=False, help_text="Traffic between pods goes through the mesh, too."
    )
    harvest_extra_endpoints = serializers.BooleanField(
        required=False, default=False, help_text="Nodes tell each other where they see others."
    )
    endpoint_filters = serializers.ListField(
        child=serializers.CharField(max_length=64),
        max_length=MOST,
        required=False,
        default=list,
        help_text="Which own addresses nodes announce: networks in order; one that begins with ! takes out.",
    )
    exclude_networks = serializers.ListField(
        child=serializers.CharField(max_length=64),
        max_length=MOST,
        required=False,
        default=list,
        help_text="Networks of a node that its peers do not send into the mesh.",
    )
    extra_endpoints = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField(max_length=64), max_length=MOST),
        required=False,
        default=dict,
        help_text="UUID of a machine: `address:port` at which it is reached besides its own addresses.",
    )
    discovery_services = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="By which nodes find each other."
    )
    elsewhere = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Other patches that say something of KubeSpan."
    )
    notes = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="What to know of it.")


def shown(cluster: Cluster) -> dict[str, Any]:
    """What is answered."""
    setup = read(cluster)
    settings = setup.settings or KubeSpan(enabled=False)
    return {
        "enabled": settings.enabled,
        "mtu": settings.mtu,
        "allow_down_peer_bypass": settings.allow_down_peer_bypass,
        "advertise_kubernetes_networks": settings.advertise_kubernetes_networks,
        "harvest_extra_endpoints": settings.harvest,
        "endpoint_filters": settings.endpoint_filters,
        "exclude_networks": settings.exclude_networks,
        "extra_endpoints": setup.endpoints,
        "discovery_services": urls(told(cluster)),
        "elsewhere": setup.elsewhere,
        "notes": list(notes(cluster, setup)),
    }


class KubeSpanActions:
    """What the mesh's viewset has of it."""

    kubespan_verbs: ClassVar[dict[str, str]] = {
        "kubespan": "cluster.read",
        "kubespan_on": "cluster.update",
        "kubespan_off": "cluster.update",
    }

    def get_object(self) -> Any:
        """The base's."""
        return super().get_object()  # type: ignore[misc]

    @extend_schema(responses=KubeSpanSerializer)
    @action(detail=True, methods=["get"], pagination_class=None)
    def kubespan(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Whether KubeSpan is on, and how."""
        return Response(shown(self._cluster()))

    @extend_schema(request=KubeSpanSerializer, responses=KubeSpanSerializer)
    @kubespan.mapping.put
    def kubespan_on(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Turn KubeSpan on, with these settings and no others."""
        given = KubeSpanSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        fields = given.validated_data
        settings = KubeSpan(
            mtu=fields["mtu"],
            allow_down_peer_bypass=fields["allow_down_peer_bypass"],
            advertise_kubernetes_networks=fields["advertise_kubernetes_networks"],
            harvest=fields["harvest_extra_endpoints"],
            endpoint_filters=tuple(fields["endpoint_filters"]),
            exclude_networks=tuple(fields["exclude_networks"]),
        )
        cluster = self._cluster()
        write(request.actor, cluster, settings, fields["extra_endpoints"])
        return Response(shown(cluster))

    @extend_schema(responses=KubeSpanSerializer)
    @kubespan.mapping.delete
    def kubespan_off(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Turn KubeSpan off."""
        cluster = self._cluster()
        turn_off(request.actor, cluster)
        return Response(shown(cluster))

    def _cluster(self) -> Cluster:
        found: Cluster = self.get_object()
        return found
