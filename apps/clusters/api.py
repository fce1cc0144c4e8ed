"""REST: clusters, the templates that say what they shall be, and machine classes."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from apps.access.check import check
from apps.api.base import TenantRequest, TenantViewSet
from apps.api.routing import TenantRouter
from apps.api.state import StateSerializer
from apps.clusters import actions, compose, queries, states, templates, ways
from apps.clusters.models import Cluster, ClusterMachine, ClusterStatus
from apps.clusters.templates import Review
from apps.machines import actions as machine_actions
from apps.machines.models import MachineClass
from apps.reconcile.conditions import Shown
from talos import template
from talos.template.files import ReadFile

router = TenantRouter()


def _shown(state: Shown) -> dict[str, str]:
    return {"shape": state.shape, "word": state.word, "sentence": state.sentence}


def status_of(cluster: Cluster) -> ClusterStatus:
    """The status of a cluster; that of one nobody has looked at yet when there is none."""
    if not hasattr(cluster, "status"):
        cluster.status = ClusterStatus(cluster=cluster)
    return cluster.status


class ConditionSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    state = serializers.CharField(help_text="ok, work, wait, ask, warn, bad or off")
    message = serializers.CharField(help_text="A sentence; while something is awaited it names what.")
    since = serializers.CharField()


class EndpointSerializer(serializers.Serializer[Any]):
    """The cluster's own endpoint, by which it is reached without this installation."""

    address = serializers.CharField(
        required=False, default="", allow_blank=True, help_text="`https://host:port`, or a host with or without a port."
    )
    virtual_ip = serializers.CharField(
        required=False, default="", allow_blank=True, help_text="An address that the control planes share."
    )


class ClusterSerializer(serializers.ModelSerializer[Cluster]):
    """A cluster as lists show it."""

    endpoint = EndpointSerializer(source="own_endpoint", help_text="Empty fields: it is reached by this installation.")
    state = serializers.SerializerMethodField()
    phase = serializers.CharField(source="status.phase")
    ready = serializers.BooleanField(source="status.ready")
    kubernetes_api_ready = serializers.BooleanField(source="status.kubernetes_api_ready")
    observed_generation = serializers.IntegerField(source="status.observed_generation")
    ready_at = serializers.DateTimeField(source="status.ready_at")
    machines = serializers.SerializerMethodField(help_text="How many are wanted, taken, connected, ready.")

    class Meta:
        model = Cluster
        fields = [
            "id", "name", "state", "phase", "ready", "kubernetes_api_ready", "machines", "kubernetes_version",
            "talos_version", "initial_talos_version", "endpoint", "labels", "annotations", "features", "generation",
            "observed_generation", "created_at", "ready_at", "deleting_at",
        ]  # fmt: skip

    def to_representation(self, cluster: Cluster) -> dict[str, Any]:
        status_of(cluster)
        return super().to_representation(cluster)

    @extend_schema(responses=StateSerializer)
    def get_state(self, cluster: Cluster) -> dict[str, str]:
        return _shown(states.cluster_state(cluster))

    def get_machines(self, cluster: Any) -> dict[str, int]:
        names = ("wanted", "total", "connected", "ready")
        return {name: getattr(cluster, f"machines_{name}", 0) for name in names}


class ClusterMachineSerializer(serializers.ModelSerializer[ClusterMachine]):
    """A machine as a member of its cluster."""

    uuid = serializers.CharField(source="machine.uuid")
    hostname = serializers.CharField(source="machine.observation.hostname")
    machine_set = serializers.CharField(source="machine_set.name", default="")
    state = serializers.SerializerMethodField()
    connected = serializers.BooleanField(source="machine.observation.connected")
    config_current = serializers.SerializerMethodField(help_text="Whether it runs the config that is wanted.")

    class Meta:
        model = ClusterMachine
        fields = [
            "id", "uuid", "hostname", "role", "machine_set", "state", "stage", "ready", "connected", "step",
            "conditions", "config_current", "applied_at", "install_disk", "schematic_id", "etcd_member_id",
            "node_name", "kubernetes_version", "leaving_at",
        ]  # fmt: skip

    @extend_schema(responses=StateSerializer)
    def get_state(self, row: ClusterMachine) -> dict[str, str]:
        return _shown(states.member_state(row))

    def get_config_current(self, row: ClusterMachine) -> bool:
        return bool(row.applied_sha) and row.applied_sha == row.config_sha


class StatusSerializer(serializers.Serializer[Any]):
    state = StateSerializer()
    phase = serializers.CharField()
    ready = serializers.BooleanField()
    generation = serializers.IntegerField()
    observed_generation = serializers.IntegerField()
    conditions = ConditionSerializer(many=True)
    steps = serializers.ListField(child=serializers.DictField(), help_text="Creation step by step, in order.")
    machines = ClusterMachineSerializer(many=True)


class MachineSetSerializer(serializers.Serializer[Any]):
    """Machines of one role: by UUID, or by class."""

    name = serializers.CharField(required=False, default="", help_text="Of workers; empty means `workers`.")
    machines = serializers.ListField(child=serializers.CharField(), required=False, default=list)
    machine_class = serializers.CharField(required=False, default="", allow_blank=True)
    machine_count = serializers.IntegerField(required=False, min_value=0, allow_null=True, default=None)


class PatchSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    patch = serializers.CharField(help_text="A Talos config patch, YAML.")


class FeaturesSerializer(serializers.Serializer[Any]):
    """Where the cluster's nodes find each other."""

    use_embedded_discovery_service = serializers.BooleanField(
        required=False, default=False, help_text="The discovery service of this installation."
    )
    disable_public_discovery_service = serializers.BooleanField(
        required=False,
        default=False,
        help_text="It alone; for clusters that began with Talos 1.14 or later. Before, it always is alone.",
    )


class NewClusterSerializer(serializers.Serializer[Any]):
    """What a cluster shall be. It replaces what it was before."""

    name = serializers.CharField()
    kubernetes_version = serializers.CharField()
    talos_version = serializers.CharField()
    endpoint = EndpointSerializer(required=False)
    features = FeaturesSerializer(required=False)
    labels = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False, default=dict)
    control_planes = MachineSetSerializer()
    workers = MachineSetSerializer(many=True, required=False, default=list)
    patches = PatchSerializer(many=True, required=False, default=list)


class TemplateSerializer(serializers.Serializer[Any]):
    template = serializers.CharField(trim_whitespace=False, help_text="The template, YAML documents.")
    files = serializers.DictField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True),
        required=False,
        default=dict,
        help_text="Files that the template refers to: path to content.",
    )


class ChangeSerializer(serializers.Serializer[Any]):
    act = serializers.CharField(help_text="create, update or destroy")
    type = serializers.CharField()
    id = serializers.CharField()
    diff = serializers.CharField()


class ReviewSerializer(serializers.Serializer[Any]):
    cluster = serializers.CharField()
    changes = ChangeSerializer(many=True)
    refusals = serializers.ListField(child=serializers.CharField(), help_text="Why a sync would be refused.")
    warnings = serializers.ListField(child=serializers.CharField())


def shown_review(review: Review) -> dict[str, Any]:
    """A plan as it is answered: every change with its difference; contents of patches are those of the template."""
    return {
        "cluster": review.cluster,
        "changes": [
            {
                "act": "create" if change.old is None else "destroy" if change.new is None else "update",
                "type": change.resource.type,
                "id": change.resource.id,
                "diff": change.diff(),
            }
            for change in review.plan.changes()
        ],
        "refusals": review.refusals,
        "warnings": review.warnings,
    }


class FileSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    content = serializers.CharField()


def _endpoint_parameter(choices: dict[str, str], default: str) -> OpenApiParameter:
    meanings = "; ".join(f"`{name}`: {words}" for name, words in choices.items())
    return OpenApiParameter("endpoint", str, enum=list(choices), description=f"{meanings}. Default: {default}.")


@router.resource("clusters")
class ClusterViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Clusters, by name."""

    kind = "cluster"
    verbs: ClassVar[dict[str, str]] = {
        "list": "cluster.list",
        "retrieve": "cluster.read",
        "create": "cluster.create",
        "update": "cluster.update",
        "destroy": "cluster.destroy",
        "status": "cluster.read",
        "machines": "cluster.read",
        "config": "cluster.config",
        "template": "template.export",
        "talosconfig": "cluster.talosconfig",
        "kubeconfig": "cluster.kubeconfig",
    }
    serializer_class = ClusterSerializer
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    sorts: ClassVar[dict[str, tuple[str, ...]]] = queries.SORTS

    def get_queryset(self) -> QuerySet[Cluster]:
        return queries.visible(self.request.actor, queries.clusters())

    def search(self, rows: QuerySet[Cluster], text: str) -> QuerySet[Cluster]:
        return queries.search(rows, text)

    @extend_schema(request=NewClusterSerializer, responses={201: ClusterSerializer})
    def create(self, request: TenantRequest, slug: str) -> Response:
        """Make a cluster. For all that a cluster can be, sync a template."""
        name = self._sync(request)
        return Response(self.get_serializer(self.find(name)).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=NewClusterSerializer, responses=ClusterSerializer)
    def update(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Say anew what a cluster shall be."""
        self.get_object()
        self._sync(request, name)
        return Response(self.get_serializer(self.find(name)).data)

    def _sync(self, request: TenantRequest, name: str | None = None) -> str:
        given = NewClusterSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = str(given.validated_data["name"])
        if name is None and Cluster.objects.filter(name=wanted).exists():
            raise ValidationError({"name": f"There is a cluster {wanted} already; change it with PUT."})
        if name is not None and wanted != name:
            raise ValidationError({"name": f"A cluster keeps its name: {name}."})
        actions.sync_template(request.actor, compose.template_of(given.validated_data))
        return wanted

    @extend_schema(responses={202: ClusterSerializer})
    def destroy(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Give all machines back, wiped; the cluster goes when the last one is clean."""
        cluster = self.get_object()
        actions.destroy_cluster(request.actor, cluster)
        return Response(self.get_serializer(self.find(name)).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses=StatusSerializer)
    @action(detail=True, methods=["get"])
    def status(self, request: TenantRequest, slug: str, name: str) -> Response:
        """How the cluster is, what it waits for by name and since when, and each of its machines."""
        cluster = self.get_object()
        row = status_of(cluster)
        return Response(
            {
                "state": _shown(states.cluster_state(cluster)),
                "phase": row.phase,
                "ready": row.ready and row.observed_generation == cluster.generation,
                "generation": cluster.generation,
                "observed_generation": row.observed_generation,
                "conditions": row.conditions,
                "steps": states.progress(row),
                "machines": ClusterMachineSerializer(queries.machines_seen(request.actor, cluster), many=True).data,
            }
        )

    @extend_schema(responses=ClusterMachineSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def machines(self, request: TenantRequest, slug: str, name: str) -> Response:
        """The machines that the cluster has taken."""
        rows = queries.machines_seen(request.actor, self.get_object())
        return Response(ClusterMachineSerializer(rows, many=True).data)

    @extend_schema(parameters=[OpenApiParameter("machine", str, required=True)], responses=FileSerializer)
    @action(detail=True, methods=["get"])
    def config(self, request: TenantRequest, slug: str, name: str) -> Response:
        """The config that was last given to a machine (`?machine=UUID`), without its secrets."""
        uuid = request.query_params.get("machine", "")
        row = queries.machines_seen(request.actor, self.get_object()).filter(machine__uuid=uuid).first()
        if row is None:
            raise NotFound(f"{name} has no machine {uuid!r}")
        check(request.actor, "cluster.config", row.machine)
        return Response({"name": f"{uuid}.yaml", "content": row.redacted_config})

    @extend_schema(responses=FileSerializer)
    @action(detail=True, methods=["get"])
    def template(self, request: TenantRequest, slug: str, name: str) -> Response:
        """The cluster as a template that syncs to no change."""
        try:
            text = queries.export(self.get_object())
        except template.ExportError as error:
            raise ValidationError({"template": str(error)}) from None
        return Response({"name": f"{name}.yaml", "content": text})

    @extend_schema(request=None, responses=FileSerializer, parameters=[_endpoint_parameter(ways.TALOS_WAYS, ways.NODE)])
    @action(detail=True, methods=["post"])
    def talosconfig(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Administrator's talosconfig for talking to the nodes themselves. Audited; for when this control plane is
        away.
        """
        chosen = request.query_params.get("endpoint", "")
        content = actions.download_talosconfig(request.actor, self._locked(), chosen)
        return Response({"name": "talosconfig", "content": content})

    @extend_schema(request=None, responses=FileSerializer, parameters=[_endpoint_parameter(ways.WAYS, "own or node")])
    @action(detail=True, methods=["post"])
    def kubeconfig(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Administrator's kubeconfig that does not need this control plane. Audited; for when it is away."""
        chosen = request.query_params.get("endpoint", "")
        return Response(
            {"name": "kubeconfig", "content": actions.download_kubeconfig(request.actor, self._locked(), chosen)}
        )

    def _locked(self) -> Cluster:
        cluster: Cluster = self.get_object()
        return cluster


@router.resource("templates")
class TemplateViewSet(TenantViewSet):
    """Cluster templates: one YAML text that says what a cluster shall be."""

    verbs: ClassVar[dict[str, str]] = {
        "validate": "template.validate",
        "render": "template.validate",
        "plan": "template.sync",  # differences show stored patches
        "sync": "template.sync",
        "delete": "cluster.destroy",
    }
    serializer_class = TemplateSerializer

    def _given(self, request: TenantRequest) -> tuple[str, ReadFile]:
        given = TemplateSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        files: dict[str, str] = given.validated_data["files"]

        def read_file(path: str) -> bytes:
            if path not in files:
                raise FileNotFoundError(path)
            return files[path].encode()

        return given.validated_data["template"], read_file

    @extend_schema(request=TemplateSerializer, responses=ReviewSerializer)
    @action(detail=False, methods=["post"])
    def validate(self, request: TenantRequest, slug: str) -> Response:
        """Whether a template makes sense; 400 with everything that is wrong."""
        parsed, _ = _read(*self._given(request))
        refusals, warnings = template.problems(parsed), template.warnings(parsed)
        answer = {"cluster": parsed.cluster.name, "changes": [], "refusals": refusals, "warnings": warnings}
        return Response(answer)

    @extend_schema(request=TemplateSerializer, responses=FileSerializer)
    @action(detail=False, methods=["post"])
    def render(self, request: TenantRequest, slug: str) -> Response:
        """The resources a template stands for."""
        parsed, resources = _read(*self._given(request))
        return Response({"name": f"{parsed.cluster.name}.yaml", "content": template.render(resources)})

    @extend_schema(request=TemplateSerializer, responses=ReviewSerializer)
    @action(detail=False, methods=["post"])
    def plan(self, request: TenantRequest, slug: str) -> Response:
        """What a sync would change, with differences, and what would stand in its way."""
        text, read_file = self._given(request)
        _read(text, read_file)
        review = templates.review(text, read_file)
        actions.check_review(request.actor, review)
        return Response(shown_review(review))

    @extend_schema(
        request=TemplateSerializer,
        responses=ReviewSerializer,
        parameters=[OpenApiParameter("dry_run", bool, description="Check everything and change nothing.")],
    )
    @action(detail=False, methods=["post"])
    def sync(self, request: TenantRequest, slug: str) -> Response:
        """Make the cluster what the template says: one transaction, or 400 with what stands in the way."""
        text, read_file = self._given(request)
        dry_run = request.query_params.get("dry_run", "") in ("true", "1", "yes")
        return Response(shown_review(actions.sync_template(request.actor, text, read_file, dry_run)))

    @extend_schema(request=TemplateSerializer, responses=ReviewSerializer)
    @action(detail=False, methods=["post"])
    def delete(self, request: TenantRequest, slug: str) -> Response:
        """Destroy the cluster that a template names."""
        parsed, _ = _read(*self._given(request))
        cluster = queries.visible(request.actor, Cluster.objects.filter(name=parsed.cluster.name)).first()
        if cluster is None:
            raise NotFound(f"there is no cluster {parsed.cluster.name!r} here")
        review = templates.review_removal(cluster)
        actions.destroy_cluster(request.actor, cluster)
        return Response(shown_review(review))


def _read(text: str, read_file: ReadFile) -> tuple[template.Template, list[template.Resource]]:
    try:
        return templates.read(text, read_file)
    except template.TemplateError as error:
        raise ValidationError({"template": str(error)}) from None


class MachineClassSerializer(serializers.ModelSerializer[MachineClass]):
    """A named selection of machines: any of the selectors has to match."""

    match_labels = serializers.ListField(child=serializers.CharField(), allow_empty=False)

    class Meta:
        model = MachineClass
        fields = ["id", "name", "match_labels"]


@router.resource("machine-classes")
class MachineClassViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Machine classes, by name."""

    kind = "machine-class"
    verbs: ClassVar[dict[str, str]] = {
        "list": "machine-class.list",
        "retrieve": "machine-class.list",
        "create": "machine-class.write",
        "update": "machine-class.write",
        "destroy": "machine-class.write",
    }
    serializer_class = MachineClassSerializer
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"name": ("name",)}

    def get_queryset(self) -> QuerySet[MachineClass]:
        return MachineClass.objects.all()

    def create(self, request: TenantRequest, slug: str) -> Response:
        """Make a machine class."""
        return Response(self._write(request, None), status=status.HTTP_201_CREATED)

    def update(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Replace a machine class; machines already picked by it stay."""
        return Response(self._write(request, self.get_object().name))

    def _write(self, request: TenantRequest, name: str | None) -> Any:
        data = {**request.data, "name": name} if name and isinstance(request.data, dict) else request.data
        given = MachineClassSerializer(data=data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data["name"]
        if name is None and MachineClass.objects.filter(name=wanted).exists():
            raise ValidationError({"name": f"There is a machine class {wanted} already; change it with PUT."})
        selectors = given.validated_data["match_labels"]
        row = actions.write_class(request.actor, wanted, selectors)
        return MachineClassSerializer(row).data

    def destroy(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Remove a machine class that no machine set uses."""
        row = self.get_object()
        actions.check_class_unused(row)
        machine_actions.delete_machine_class(request.actor, row)
        return Response(status=status.HTTP_204_NO_CONTENT)
