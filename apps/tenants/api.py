"""REST: the organisation itself."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.response import Response

from apps.accounts.credentials import has_second_factor
from apps.accounts.people import leave
from apps.api.base import TenantRequest, TenantViewSet
from apps.tenants.actions import rename_organisation, require_second_factor
from apps.tenants.models import Organisation


class OrganisationSerializer(serializers.ModelSerializer[Organisation]):
    class Meta:
        model = Organisation
        fields = ["id", "slug", "name", "created_at", "second_factor_required"]
        read_only_fields = ["id", "slug", "created_at"]


class OrganisationViewSet(mixins.RetrieveModelMixin, TenantViewSet):
    verbs: ClassVar[dict[str, str]] = {
        "retrieve": "organisation.read",
        "partial_update": "organisation.update",
        "leave": "organisation.leave",
    }
    serializer_class = OrganisationSerializer
    queryset = Organisation.objects.all()  # row-level security leaves the one in scope
    lookup_field = "slug"

    def partial_update(self, request: TenantRequest, slug: str) -> Response:
        """Rename the organisation, or ask its members for a second factor."""
        organisation = self.get_object()
        given = self.get_serializer(organisation, data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        rename_organisation(request.actor, organisation, given.validated_data.get("name", organisation.name))
        required = given.validated_data.get("second_factor_required", organisation.second_factor_required)
        has_one = request.user is not None and has_second_factor(request.user)
        require_second_factor(request.actor, organisation, required, has_one)
        return Response(self.get_serializer(organisation).data)

    @extend_schema(request=None, responses={204: None})
    def leave(self, request: TenantRequest, slug: str) -> Response:
        """End the caller's own membership, and with it their API tokens here. The last owner stays."""
        leave(request.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)
