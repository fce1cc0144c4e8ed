"""REST: machines, and the join tokens that let them in."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from apps.api.base import TenantRequest, TenantViewSet
from apps.api.routing import TenantRouter
from apps.api.state import StateSerializer
from apps.machines import actions, history, queries, states
from apps.machines.agent_api import AgentViewSet
from apps.machines.joinpage import join_arguments
from apps.machines.models import JoinToken, Machine, MachineEvent, MachineObservation

router = TenantRouter()
router.resource("agents")(AgentViewSet)

LINES, EVENTS = 500, 300
"""Log lines and events of one answer when no number is asked for."""

Q = OpenApiParameter("q", description="Only with this text.")
SINCE = OpenApiParameter("since", description="Only what was received since: a span like `15m`, `2h`, `3d`, or a time.")


class ObservationSerializer(serializers.ModelSerializer[MachineObservation]):
    class Meta:
        model = MachineObservation
        exclude = ["id", "organisation", "machine"]


class MachineSerializer(serializers.ModelSerializer[Machine]):
    """A machine as lists show it."""

    state = serializers.SerializerMethodField()
    stale = serializers.SerializerMethodField(help_text="Whether the values are those of a machine now silent.")
    cluster = serializers.SerializerMethodField()
    role = serializers.SerializerMethodField()
    hostname = serializers.CharField(source="observation.hostname")
    stage = serializers.CharField(source="observation.stage")
    connected = serializers.BooleanField(source="observation.connected")
    reachable = serializers.BooleanField(source="observation.reachable", help_text="Whether its API answers.")
    ready = serializers.BooleanField(source="observation.ready")
    talos_version = serializers.CharField(source="observation.talos_version")
    arch = serializers.CharField(source="observation.arch")
    cores = serializers.IntegerField(source="observation.cores")
    memory_mib = serializers.IntegerField(source="observation.memory_mib")
    addresses = serializers.ListField(child=serializers.CharField(), source="observation.addresses")
    transport = serializers.CharField(source="observation.transport")
    overlay_address = serializers.IPAddressField(source="link.address", default=None)

    class Meta:
        model = Machine
        fields = [
            "id", "uuid", "hostname", "state", "stage", "ready", "connected", "reachable", "stale", "cluster", "role",
            "labels", "talos_version", "arch", "cores", "memory_mib", "addresses", "transport", "overlay_address",
            "created_at",
        ]  # fmt: skip

    @extend_schema(responses=StateSerializer)
    def get_state(self, machine: Machine) -> dict[str, str]:
        shown = states.machine_state(machine.observation, states.cluster_of(machine))
        return {"shape": shown.shape, "word": shown.word, "sentence": shown.sentence}

    def get_stale(self, machine: Machine) -> bool:
        return states.stale(machine.observation, timezone.now())

    def get_cluster(self, machine: Machine) -> str | None:
        return states.cluster_of(machine)

    def get_role(self, machine: Machine) -> str | None:
        member = getattr(machine, "cluster_machine", None)
        return member.role if member is not None else None


class MachineDetailSerializer(MachineSerializer):
    """A machine with everything it reports."""

    observation = ObservationSerializer()
    conditions = serializers.ListField(child=serializers.DictField(), source="status.conditions", default=list)
    all_labels = serializers.SerializerMethodField(help_text="What selectors see: facts, image labels, your labels.")
    join_token = serializers.CharField(source="link.join_token.name", default=None)

    class Meta(MachineSerializer.Meta):
        fields = [*MachineSerializer.Meta.fields, "conditions", "all_labels", "join_token", "observation"]

    def get_all_labels(self, machine: Machine) -> dict[str, str]:
        return queries.labels_of(machine)


class LabelsSerializer(serializers.Serializer[Any]):
    labels = serializers.DictField(child=serializers.CharField(allow_blank=True))


class EventSerializer(serializers.ModelSerializer[MachineEvent]):
    class Meta:
        model = MachineEvent
        fields = ["id", "at", "kind", "summary", "payload"]


class LogLineSerializer(serializers.Serializer[Any]):
    line = serializers.IntegerField(help_text="Counts from 1 over the machine's life.")
    at = serializers.CharField()
    level = serializers.CharField()
    facility = serializers.CharField()
    text = serializers.CharField()
    boot = serializers.BooleanField(help_text="Whether the machine booted between the line before and this one.")


@router.resource("machines")
class MachineViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Machines that joined the organisation."""

    kind = "machine"
    verbs: ClassVar[dict[str, str]] = {
        "list": "machine.list",
        "retrieve": "machine.read",
        "labels": "machine.label",
        "destroy": "machine.remove",
        "events": "machine.events",
        "logs": "machine.logs",
    }
    serializer_class = MachineSerializer
    lookup_field = "uuid"
    sorts: ClassVar[dict[str, tuple[str, ...]]] = queries.SORTS

    def get_queryset(self) -> QuerySet[Machine]:
        rows = queries.listed() if self.action == "list" else queries.machines()
        return queries.visible(self.request.actor, rows)

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        return MachineDetailSerializer if self.action == "retrieve" else MachineSerializer

    def search(self, rows: QuerySet[Machine], text: str) -> QuerySet[Machine]:
        return queries.search(rows, text)

    @extend_schema(request=LabelsSerializer, responses=MachineSerializer)
    @action(detail=True, methods=["put"])
    def labels(self, request: TenantRequest, slug: str, uuid: str) -> Response:
        """Replace the machine's own labels."""
        given = LabelsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        machine = self.get_object()
        actions.set_machine_labels(request.actor, machine, given.validated_data["labels"])
        return Response(self.get_serializer(machine).data)

    def destroy(self, request: TenantRequest, slug: str, uuid: str) -> Response:
        """Forget a machine that is in no cluster, with its link, events and log."""
        actions.remove_machine(request.actor, self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        parameters=[
            OpenApiParameter("kind", description="Only of this kind.", enum=list(history.EVENT_KINDS)), Q, SINCE,
            OpenApiParameter("limit", int, description=f"At most so many, the newest [{EVENTS}]."),
            OpenApiParameter("after", UUID, description="Only those behind the event with this id, to follow."),
        ],
        responses=EventSerializer(many=True),
    )  # fmt: skip
    @action(detail=True, methods=["get"], pagination_class=None)
    def events(self, request: TenantRequest, slug: str, uuid: str) -> Response:
        """The last events of the machine, the newest first; ask again with `after` = the newest id seen to follow."""
        wanted = history.EventFilter.read(request.query_params, timezone.now())
        limit, after = _number(request, "limit", EVENTS), _id(request, "after")
        rows = history.events(self.get_object(), wanted, limit, after)
        return Response(EventSerializer(rows, many=True).data)

    @extend_schema(
        parameters=[
            OpenApiParameter("level", description="Only of this level or a graver one.", enum=history.LEVELS),
            OpenApiParameter("facility", description="Only of this facility: kern, user, daemon, ..."), Q, SINCE,
            OpenApiParameter("tail", int, description=f"At most so many of the last lines [{LINES}]."),
            OpenApiParameter("after", int, description="Only lines behind this one, to follow."),
            OpenApiParameter("before", int, description="Only lines before this one, to read back."),
        ],
        responses=LogLineSerializer(many=True),
    )  # fmt: skip
    @action(detail=True, methods=["get"], pagination_class=None)
    def logs(self, request: TenantRequest, slug: str, uuid: str) -> Response:
        """Kernel log lines in their order.

        To follow, across reboots too, ask again with `after` = the header `Omni-Last-Line`: the newest line there is,
        wanted or not.
        """
        wanted = history.LogFilter.read(request.query_params, timezone.now())
        tail, after = _number(request, "tail", LINES), _number(request, "after", 0)
        before = _number(request, "before", 0) or None
        found = history.log(self.get_object(), wanted, tail, after, before)
        return Response(
            [
                {"line": item.number, "at": item.line.at, "level": item.line.level, "facility": item.line.facility,
                 "text": item.line.text, "boot": item.boot}
                for item in found.lines
            ],
            headers={"Omni-Last-Line": str(found.last)},
        )  # fmt: skip


def _number(request: TenantRequest, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if not given.isdecimal() or len(given) > 12:
        raise ValidationError({name: f"{given!r} is not a number"})
    return int(given)


def _id(request: TenantRequest, name: str) -> UUID | None:
    given = request.query_params.get(name, "")
    try:
        return UUID(given) if given else None
    except ValueError:
        raise ValidationError({name: f"{given[:40]!r} is not an id"}) from None


class JoinTokenSerializer(serializers.ModelSerializer[JoinToken]):
    """A join token without its secret."""

    state = serializers.SerializerMethodField()
    machines = serializers.IntegerField(read_only=True, default=0, help_text="Here now that came with it.")
    pending = serializers.IntegerField(read_only=True, default=0, help_text="Called with it and not registered yet.")
    warnings = serializers.SerializerMethodField(help_text="What a person should know of it, in sentences.")

    class Meta:
        model = JoinToken
        fields = [
            "id", "name", "state", "is_default", "use_count", "machines", "pending", "warnings", "last_used_at",
            "expires_at", "revoked_at", "created_at", "created_by",
        ]  # fmt: skip

    def get_warnings(self, token: JoinToken) -> list[str]:
        return states.token_warnings(token, getattr(token, "pending", 0), timezone.now())

    @extend_schema(responses=StateSerializer)
    def get_state(self, token: JoinToken) -> dict[str, str]:
        shown = states.token_state(token, timezone.now())
        return {"shape": shown.shape, "word": shown.word, "sentence": shown.sentence}


class NewJoinTokenSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=40)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    is_default = serializers.BooleanField(required=False, default=False)


class JoinTokenChangeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=40, required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    is_default = serializers.BooleanField(required=False)


class JoinSecretSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="The secret itself.")
    kernel_arguments = serializers.CharField()
    documents = serializers.CharField(help_text="The same as configuration documents (YAML).")


@router.resource("join-tokens")
class JoinTokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Secrets that let machines join."""

    kind = "join-token"
    verbs: ClassVar[dict[str, str]] = {
        "list": "join-token.list",
        "retrieve": "join-token.list",
        "create": "join-token.create",
        "partial_update": "join-token.update",
        "revoke": "join-token.revoke",
        "reveal": "join-token.reveal",
    }
    serializer_class = JoinTokenSerializer
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"name": ("name",), "created": ("created_at",)}

    def get_queryset(self) -> QuerySet[JoinToken]:
        return queries.join_tokens()

    def search(self, rows: QuerySet[JoinToken], text: str) -> QuerySet[JoinToken]:
        return queries.search_join_tokens(rows, text)

    @extend_schema(request=NewJoinTokenSerializer, responses={201: JoinTokenSerializer})
    def create(self, request: TenantRequest, slug: str) -> Response:
        """Make a token. Its secret is given by `reveal`."""
        given = NewJoinTokenSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        made = actions.create_join_token(
            request.actor, values["name"], values.get("expires_at"), make_default=values["is_default"]
        )
        return Response(JoinTokenSerializer(made.row).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=JoinTokenChangeSerializer, responses=JoinTokenSerializer)
    def partial_update(self, request: TenantRequest, slug: str, id: str) -> Response:
        """Rename, change the expiry (null clears it), or make the default."""
        given = JoinTokenChangeSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        values, token = given.validated_data, self.get_object()
        actions.update_join_token(
            request.actor,
            token,
            name=values.get("name"),
            expires_at=values.get("expires_at"),
            clear_expiry="expires_at" in values and values["expires_at"] is None,
            make_default=values.get("is_default", False),
        )
        return Response(JoinTokenSerializer(token).data)

    @extend_schema(request=None, responses=JoinTokenSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: TenantRequest, slug: str, id: str) -> Response:
        """Let nobody in with it any more. Machines that joined stay; agents that came with it are turned away."""
        token = self.get_object()
        actions.revoke_join_token(request.actor, token)
        return Response(JoinTokenSerializer(token).data)

    @extend_schema(
        request=None,
        parameters=[OpenApiParameter("tunnel", bool, description="WireGuard inside gRPC, where UDP is blocked.")],
        responses=JoinSecretSerializer,
    )
    @action(detail=True, methods=["post"])
    def reveal(self, request: TenantRequest, slug: str, id: str) -> Response:
        """The secret, with kernel arguments and documents that hold it. Audited."""
        token = self.get_object()
        secret = actions.reveal_join_token(request.actor, token)
        texts = join_arguments(secret, request.query_params.get("tunnel") in ("true", "1", "on"))
        answer = {"token": secret, "kernel_arguments": texts.kernel_arguments, "documents": texts.documents}
        return Response(answer, headers={"Cache-Control": "no-store"})
