"""REST: ways for kubectl into a cluster, beside `clusters`. What they give out is listed under `access-keys`."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from apps.accounts.models import ROLE_CHOICES, ServiceAccount
from apps.api.base import TenantRequest, TenantViewSet
from apps.api.me import caller
from apps.api.problems import problem
from apps.api.routing import TenantRouter
from apps.clusters import queries as clusters
from apps.clusters.models import Cluster
from apps.proxies import actions, direct, kubeconfigs
from apps.proxies.api_talos import TalosconfigViewSet

router = TenantRouter()
router.resource("talosconfig")(TalosconfigViewSet)

DAY = 24 * 3600

DIRECT = (
    "This file goes past the control plane: groups that policies add are not in it, and once it is revoked it is good"
    " until the cluster has been reached."
)


class PersonKubeconfigSerializer(serializers.Serializer[Any]):
    proof = serializers.ChoiceField(
        choices=list(kubeconfigs.PROOFS.items()),
        default=kubeconfigs.EXEC,
        help_text="; ".join(f"`{name}`: {text}" for name, text in kubeconfigs.PROOFS.items()),
    )


class ServiceAccountKubeconfigSerializer(serializers.Serializer[Any]):
    service_account = serializers.CharField(help_text="The name of a service account.")
    name = serializers.CharField(max_length=120, help_text="What uses it.")
    lifetime = serializers.IntegerField(
        default=DAY, min_value=60, max_value=365 * DAY, help_text="Seconds, at most 365 days."
    )
    role = serializers.ChoiceField(choices=ROLE_CHOICES, required=False, help_text="The account's own by default.")


class DirectKubeconfigSerializer(serializers.Serializer[Any]):
    endpoint = serializers.ChoiceField(
        choices=list(direct.ENDPOINTS.items()),
        help_text="; ".join(f"`{name}`: {text}" for name, text in direct.ENDPOINTS.items()),
    )
    name = serializers.CharField(max_length=120, help_text="What uses it.")
    lifetime = serializers.IntegerField(
        default=7 * DAY,
        min_value=600,
        max_value=365 * DAY,
        help_text="Seconds, at most 365 days; the cluster may give less.",
    )
    role = serializers.ChoiceField(choices=ROLE_CHOICES, required=False, help_text="Less than the caller's own.")


class KubeconfigSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    content = serializers.CharField(help_text="A kubeconfig, YAML.")


class GivenKubeconfigSerializer(KubeconfigSerializer):
    access_key = serializers.UUIDField(help_text="What revokes it.")
    expires_at = serializers.DateTimeField()
    notes = serializers.ListField(child=serializers.CharField(), help_text="What to know of it.")


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField()
    access_key = serializers.UUIDField(help_text="What revokes it.")
    expires_at = serializers.DateTimeField()


@router.resource("clusters")
class ClusterAccessViewSet(TenantViewSet):
    """kubectl's ways into a cluster."""

    verbs: ClassVar[dict[str, str]] = {
        "access_kubeconfig": "cluster.access",
        "kubernetes_token": "cluster.access",
        "direct_kubeconfig": "cluster.access",
        "service_account_kubeconfig": "service-account.write",
    }
    serializer_class = KubeconfigSerializer
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    begun: direct.Begun | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """An account in a cluster is made after what is written of it was committed: no transaction waits for calls."""
        response = super().dispatch(request, *args, **kwargs)
        if self.begun is None or response.status_code >= status.HTTP_400_BAD_REQUEST:
            return response
        try:
            response.data = _file(direct.finish(self.begun), [DIRECT])
        except direct.Unreached as error:
            refused = problem(503, "Service Unavailable", str(error), request_id=getattr(request, "request_id", ""))
            response = self.response = self.finalize_response(self.request, refused, *args, **kwargs)
        return response

    def get_queryset(self) -> QuerySet[Cluster]:
        return clusters.visible(self.request.actor, Cluster.objects.all())

    def _cluster(self) -> Any:
        return self.find(self.kwargs["name"])

    @extend_schema(request=PersonKubeconfigSerializer, responses=KubeconfigSerializer)
    @action(detail=True, methods=["post"], url_path="access-kubeconfig")
    def access_kubeconfig(self, request: TenantRequest, slug: str, name: str) -> Response:
        """The caller's kubeconfig through this installation. It holds no secret."""
        cluster = self._cluster()
        proof = self._given(PersonKubeconfigSerializer)["proof"]
        content = actions.person_kubeconfig(request.actor, caller(request), cluster, proof)
        return Response({"name": "kubeconfig", "content": content})

    @extend_schema(request=None, responses={201: TokenSerializer})
    @action(detail=True, methods=["post"], url_path="kubernetes-token")
    def kubernetes_token(self, request: TenantRequest, slug: str, name: str) -> Response:
        """A token of an hour for the caller, for kubectl's exec plugin. It ends with the credential that asks."""
        given = actions.plugin_token(request.actor, caller(request), self._cluster(), self._session())
        answer = {"token": given.content, "access_key": given.key.id, "expires_at": given.key.expires_at}
        return Response(TokenSerializer(answer).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=DirectKubeconfigSerializer, responses={201: GivenKubeconfigSerializer})
    @action(detail=True, methods=["post"], url_path="direct-kubeconfig")
    def direct_kubeconfig(self, request: TenantRequest, slug: str, name: str) -> Response:
        """A kubeconfig that goes past this installation and works while it is away; answered this once.

        For it a ServiceAccount is made in the cluster, with the Kubernetes role that stands for the caller's. Revoking
        its access key removes the account as soon as the cluster is reached. No Idempotency-Key is taken.
        """
        cluster = self._cluster()
        wish = self._given(DirectKubeconfigSerializer)
        if request.headers.get("Idempotency-Key"):
            raise ValidationError({"Idempotency-Key": "what this answers is kept nowhere: leave it out"})
        self.begun = direct.begin(
            request.actor,
            caller(request),
            cluster,
            wish["name"],
            timedelta(seconds=wish["lifetime"]),
            wish["endpoint"],
            wish.get("role", ""),
        )
        return Response({}, status=status.HTTP_201_CREATED)

    @extend_schema(request=ServiceAccountKubeconfigSerializer, responses={201: GivenKubeconfigSerializer})
    @action(detail=True, methods=["post"], url_path="service-account-kubeconfig")
    def service_account_kubeconfig(self, request: TenantRequest, slug: str, name: str) -> Response:
        """A kubeconfig with a token of a service account; answered this once."""
        cluster = self._cluster()
        wish = self._given(ServiceAccountKubeconfigSerializer)
        account = ServiceAccount.objects.filter(name=wish["service_account"]).first()
        if account is None:
            raise NotFound(f"there is no service account {wish['service_account']!r} here")
        lifetime = timedelta(seconds=wish["lifetime"])
        given = actions.service_account_kubeconfig(
            request.actor, account, cluster, wish["name"], lifetime, wish.get("role", "")
        )
        return Response(_file(given, []), status=status.HTTP_201_CREATED)

    def _given(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        given = serializer(data=self.request.data)
        given.is_valid(raise_exception=True)
        values: dict[str, Any] = given.validated_data
        return values

    def _session(self) -> str:
        """The browser session that asks, if one does."""
        return "" if caller(self.request).token else self.request.session.session_key or ""


def _file(given: actions.Given, notes: list[str]) -> Any:
    return GivenKubeconfigSerializer(
        {
            "name": "kubeconfig",
            "content": given.content,
            "access_key": given.key.id,
            "expires_at": given.key.expires_at,
            "notes": notes,
        }
    ).data
