"""REST: agents, and what they reach."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from apps.api.base import TenantRequest, TenantViewSet
from apps.api.state import StateSerializer
from apps.machines import agent_queries, agents, states
from apps.machines.models import Agent, AgentTarget


class AgentSerializer(serializers.ModelSerializer[Agent]):
    """An agent, without its credential."""

    state = serializers.SerializerMethodField()
    connected = serializers.BooleanField(source="observation.connected")
    connected_changed_at = serializers.DateTimeField(source="observation.connected_changed_at")
    version = serializers.CharField(source="observation.version")
    source_address = serializers.CharField(source="observation.source", help_text="The address it connects from.")
    gateway = serializers.CharField(source="observation.gateway", help_text="The gateway it was connected to last.")
    nodes = serializers.ListField(
        child=serializers.CharField(), source="observation.nodes", help_text="Hosts its operator named."
    )
    networks = serializers.ListField(
        child=serializers.CharField(), source="observation.networks", help_text="Networks that it scans."
    )
    join_token = serializers.CharField(source="join_token.name", default=None)
    machines = serializers.IntegerField(help_text="Machines that it reaches.")
    found = serializers.IntegerField(help_text="What it found and somebody may accept.")
    problems = serializers.IntegerField(help_text="Addresses with a problem.")

    class Meta:
        model = Agent
        fields = [
            "id", "name", "state", "connected", "connected_changed_at", "version", "source_address", "gateway", "nodes",
            "networks", "join_token", "machines", "found", "problems", "created_at",
        ]  # fmt: skip

    @extend_schema(responses=StateSerializer)
    def get_state(self, agent: Agent) -> dict[str, str]:
        return _shown(states.agent_state(agent))


class TargetSerializer(serializers.ModelSerializer[AgentTarget]):
    """A host that an agent reaches, and what answers there."""

    state = serializers.SerializerMethodField()
    machine = serializers.CharField(source="machine.uuid", default=None, help_text="UUID of the machine it leads to.")
    uuid = serializers.CharField(help_text="What answered there last says it is.")

    class Meta:
        model = AgentTarget
        fields = [
            "id", "address", "named", "state", "machine", "uuid", "fingerprint", "talos_version", "api_mode", "problem",
            "seen_at",
        ]  # fmt: skip

    @extend_schema(responses=StateSerializer)
    def get_state(self, target: AgentTarget) -> dict[str, str]:
        return _shown(states.target_state(target))


class AcceptSerializer(serializers.Serializer[Any]):
    addresses = serializers.ListField(child=serializers.CharField(max_length=64), min_length=1, max_length=4096)


class AgentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
    """Programs beside machines that reach them for us."""

    kind = "agent"
    verbs: ClassVar[dict[str, str]] = {
        "list": "agent.list",
        "retrieve": "agent.list",
        "targets": "agent.list",
        "accept": "agent.accept",
        "destroy": "agent.remove",
    }
    serializer_class = AgentSerializer
    lookup_field = "name"
    lookup_value_regex = "[^/]+"
    sorts: ClassVar[dict[str, tuple[str, ...]]] = agent_queries.SORTS

    def get_queryset(self) -> QuerySet[Agent]:
        return agent_queries.agents()

    def search(self, rows: QuerySet[Agent], text: str) -> QuerySet[Agent]:
        return agent_queries.search(rows, text)

    @extend_schema(responses=TargetSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def targets(self, request: TenantRequest, slug: str, name: str) -> Response:
        """What it reaches: what waits for a person first."""
        return Response(TargetSerializer(agent_queries.targets(self.get_object(), request.actor), many=True).data)

    @extend_schema(request=AcceptSerializer, responses=TargetSerializer(many=True))
    @action(detail=True, methods=["post"], pagination_class=None)
    def accept(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Make what it found at these addresses machines of the organisation: all of them, or none."""
        agent = self.get_object()
        given = AcceptSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = list(dict.fromkeys(given.validated_data["addresses"]))
        rows = agent_queries.targets(agent, request.actor).filter(address__in=wanted)
        found = {row.address: row for row in rows}
        if missing := [address for address in wanted if address not in found]:
            raise ValidationError({"addresses": f"{name} reaches nothing at {', '.join(missing[:5])}"})
        for address in wanted:
            agents.accept(request.actor, found[address])
        return Response(TargetSerializer(rows.all(), many=True).data)

    def destroy(self, request: TenantRequest, slug: str, name: str) -> Response:
        """Turn it away for good. Its machines stay, without a link unless another agent reaches them."""
        agents.remove(request.actor, self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


def _shown(state: states.Shown) -> dict[str, str]:
    return {"shape": state.shape, "word": state.word, "sentence": state.sentence}
