"""REST: the organisation itself."""

from typing import ClassVar

from rest_framework import mixins, serializers
from rest_framework.response import Response

from apps.api.base import TenantRequest, TenantViewSet
from apps.tenants.actions import rename_organisation
from apps.tenants.models import Organisation


class OrganisationSerializer(serializers.ModelSerializer[Organisation]):
    class Meta:
        model = Organisation
        fields = ["id", "slug", "name", "created_at"]
        read_only_fields = ["id", "slug", "created_at"]


class OrganisationViewSet(mixins.RetrieveModelMixin, TenantViewSet):
    verbs: ClassVar[dict[str, str]] = {"retrieve": "organisation.read", "partial_update": "organisation.update"}
    serializer_class = OrganisationSerializer
    queryset = Organisation.objects.all()  # row-level security leaves the one in scope
    lookup_field = "slug"

    def partial_update(self, request: TenantRequest, slug: str) -> Response:
        """Rename the organisation."""
        organisation = self.get_object()
        given = self.get_serializer(organisation, data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        rename_organisation(request.actor, organisation, given.validated_data.get("name", organisation.name))
        return Response(self.get_serializer(organisation).data)
