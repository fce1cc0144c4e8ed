"""Join tokens, machines, their links, and what the machines report."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.access.facts import Facts
from apps.tenants.models import TenantModel


class JoinToken(TenantModel):
    """A secret that lets machines join one organisation. Kept sealed, found by its hash (desired; writer: actions)."""

    name = models.CharField(max_length=40)
    sealed = models.BinaryField()
    token_hash = models.BinaryField(max_length=32, unique=True)  # unique across organisations
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    is_default = models.BooleanField(default=False)
    use_count = models.IntegerField(default=0)  # machines that joined with it
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=254, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="join_token_name_once"),
            models.UniqueConstraint(
                fields=["organisation"], condition=models.Q(is_default=True), name="join_token_one_default"
            ),
        ]


class Machine(TenantModel):
    """A machine that proved its node unique token (desired; writer: actions)."""

    uuid = models.CharField(max_length=64)  # as the machine says it, lower-case
    labels = models.JSONField(default=dict)  # the user's, over those of the image
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "uuid"], name="machine_uuid_once")]

    @property
    def facts(self) -> Facts:
        """As policies see it: with the cluster that has taken it, and its image's labels under its own."""
        member = getattr(self, "cluster_machine", None)
        cluster = member.cluster.facts if member else Facts("cluster", "", "")
        observation = getattr(self, "observation", None)
        image = observation.image_labels if observation else {}
        name = (observation and observation.hostname) or self.uuid
        maintenance = bool(observation and observation.api_mode == "maintenance")
        labels = {**image, **self.labels}
        return Facts("machine", self.uuid, name, cluster.name, cluster.cluster_labels, labels, maintenance)


class Link(TenantModel):
    """How one machine reaches us. Pending until the node unique token is proven, with an address of its own."""

    PENDING, ESTABLISHED = "pending", "established"
    UDP, GRPC, AGENT = "udp", "grpc", "agent"

    machine = models.OneToOneField(Machine, on_delete=models.CASCADE, null=True, related_name="link")
    claimed_uuid = models.CharField(max_length=64)
    state = models.CharField(max_length=12, default=PENDING)
    transport = models.CharField(max_length=12)  # UDP or GRPC (WireGuard), or AGENT
    public_key = models.CharField(max_length=44, unique=True, null=True)  # WireGuard; none over an agent
    address = models.GenericIPAddressField(protocol="IPv6", unique=True)  # `dial` knows the machine by it
    gateway = models.CharField(max_length=63, default="")  # name of the gateway that holds the link
    alive = models.BooleanField(default=False)  # the machine is heard there
    handshake_at = models.DateTimeField(null=True)  # by which it holds the link: a newer one elsewhere takes it
    virtual_address = models.GenericIPAddressField(protocol="IPv6", unique=True, null=True)  # name of its gRPC stream
    sealed_unique_token = models.BinaryField(null=True)  # {"Fingerprint", "Token"} as written to META 16
    unique_token_hash = models.BinaryField(max_length=32, null=True, db_index=True)
    conflict = models.BooleanField(default=False)  # pending: its UUID belongs to another machine
    override_uuid = models.CharField(max_length=64, default="")  # the UUID it was given instead (META 15), once
    fingerprint = models.CharField(max_length=64, default="")  # of the hardware at its end (`nodeagent.identity`)
    join_token = models.ForeignKey(JoinToken, on_delete=models.SET_NULL, null=True, related_name="+")
    talos_version = models.CharField(max_length=60, default="")  # as said in Provision
    source = models.CharField(max_length=64, default="")  # address the Provision call came from
    last_endpoint = models.CharField(max_length=64, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    provisioned_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [models.Index(fields=["organisation", "claimed_uuid"])]

    @property
    def reaches_us(self) -> bool:
        """Whether the machine can call us: events, logs, trustd, the cluster's balancer."""
        return self.transport != Link.AGENT

    @property
    def admin_in_maintenance(self) -> bool:
        """Whether we are administrator of a machine without configuration: install it, write META, apply documents.

        Otherwise we are its reader, who may only give it a complete configuration.
        """
        return self.transport != Link.AGENT

    @property
    def proves_identity(self) -> bool:
        """Whether the link alone proves which machine is at its end, by a node unique token and a key.

        Otherwise its UUID, and before it is configured its hardware's fingerprint, are read on each connection.
        """
        return self.transport != Link.AGENT

    @property
    def required_fingerprint(self) -> str:
        """What the hardware has to be before anything is done to a machine without configuration; empty: no matter."""
        return "" if self.proves_identity else self.fingerprint


class Agent(TenantModel):
    """A program beside machines that dials out to us and carries connections to them (desired; writer: `agents.py`).

    One that was removed stays as a row, so that its credential lets nobody in any more.
    """

    name = models.CharField(max_length=63)
    credential_hash = models.BinaryField(max_length=32, unique=True)  # it made this secret for itself
    join_token = models.ForeignKey(JoinToken, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "name"], condition=models.Q(removed_at=None), name="agent_name_once"
            )
        ]


class AgentObservation(TenantModel):
    """What an agent said last, and whether it is connected (observed; writer: the gateway that holds its stream)."""

    agent = models.OneToOneField(Agent, on_delete=models.CASCADE, related_name="observation")
    connected = models.BooleanField(default=False)
    connected_changed_at = models.DateTimeField(null=True)
    gateway = models.CharField(max_length=63, default="")
    source = models.CharField(max_length=64, default="")  # address it connects from
    version = models.CharField(max_length=60, default="")
    nodes = models.JSONField(default=list)  # hosts its operator named
    networks = models.JSONField(default=list)  # what it scans
    problem = models.TextField(default="")  # why it was disconnected


class AgentTarget(TenantModel):
    """A host that an agent reaches, and what answers there (observed; writer: the gateway).

    `machine` is set for a host that the agent's operator named, or when a person accepts what was found.
    """

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="targets")
    address = models.CharField(max_length=64)  # host without port, as the agent dials it
    named = models.BooleanField(default=False)  # given to the agent by its operator, not found by a scan
    machine = models.ForeignKey(Machine, on_delete=models.SET_NULL, null=True, related_name="targets")
    uuid = models.CharField(max_length=64, default="")  # what answered there last says
    fingerprint = models.CharField(max_length=64, default="")  # of its hardware, read on the same connection
    talos_version = models.CharField(max_length=60, default="")
    api_mode = models.CharField(max_length=12, default="")  # maintenance, secure or foreign; empty: no answer
    problem = models.TextField(default="")  # why it does not answer, or is not accepted
    seen_at = models.DateTimeField(null=True)  # when it answered last
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "address"], name="agent_target_once")]


class MachineObservation(TenantModel):
    """The last that a machine said, in one row (observed; writer: the gateway's batcher)."""

    machine = models.OneToOneField(Machine, on_delete=models.CASCADE, related_name="observation")
    connected = models.BooleanField(default=False)
    connected_changed_at = models.DateTimeField(null=True)
    observed_at = models.DateTimeField(null=True)  # when anything below was last heard
    transport = models.CharField(max_length=12, default="")
    endpoint = models.CharField(max_length=64, default="")
    last_handshake_at = models.DateTimeField(null=True)
    engine = models.CharField(max_length=20, default="")  # of WireGuard that carries the link
    rx_bytes = models.BigIntegerField(default=0)
    tx_bytes = models.BigIntegerField(default=0)
    rx_rate = models.BigIntegerField(default=0)  # bytes a second
    tx_rate = models.BigIntegerField(default=0)
    reachable = models.BooleanField(default=False)  # its API answers
    api_mode = models.CharField(max_length=12, default="")  # maintenance or secure
    error = models.TextField(default="")  # why the API does not answer
    boot_id = models.CharField(max_length=40, default="")
    stage = models.CharField(max_length=20, default="")  # Talos' stage, lower-case: maintenance, running, ...
    ready = models.BooleanField(default=False)
    unmet = models.JSONField(default=list)  # [{"name", "reason"}]
    hostname = models.CharField(max_length=253, default="")
    talos_version = models.CharField(max_length=60, default="")
    arch = models.CharField(max_length=16, default="")
    platform = models.CharField(max_length=40, default="")
    schematic = models.CharField(max_length=64, default="")
    installed = models.BooleanField(default=False)
    system_disk = models.CharField(max_length=120, default="")
    cores = models.IntegerField(default=0)
    memory_mib = models.BigIntegerField(default=0)
    disk_bytes = models.BigIntegerField(default=0)
    addresses = ArrayField(models.CharField(max_length=64), default=list)
    image_labels = models.JSONField(default=dict)
    hardware = models.JSONField(default=dict)  # {"processors": [], "memory": [], "system": {}}
    disks = models.JSONField(default=list)
    network = models.JSONField(default=dict)  # {"links": [], "routes": [], "addresses": []}
    extensions = models.JSONField(default=list)
    security = models.JSONField(default=dict)
    meta = models.JSONField(default=dict)  # keys and values; the unique token's value is never stored here
    kernel_cmdline = models.TextField(default="")
    etcd_member_id = models.CharField(max_length=20, default="")  # hex
    node_name = models.CharField(max_length=253, default="")
    node_id = models.CharField(max_length=64, default="")  # by which nodes find each other; empty while unconfigured

    class Meta:
        indexes = [models.Index(fields=["organisation", "connected"]), models.Index(fields=["organisation", "stage"])]


class MachineStatus(TenantModel):
    """What the machine reconciler concluded (status; writer: the machine reconciler)."""

    machine = models.OneToOneField(Machine, on_delete=models.CASCADE, related_name="status")
    conditions = models.JSONField(default=list)
    maintenance_config_sha = models.CharField(max_length=64, default="")  # of the join documents last applied
    maintenance_config_key = models.CharField(max_length=44, default="")  # link key they were applied for


class MachineEvent(TenantModel):
    """An event of the machine's own event stream (observed; the last few hundred are kept)."""

    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    kind = models.CharField(max_length=60)  # SequenceEvent, PhaseEvent, ...
    summary = models.CharField(max_length=400)
    payload = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["organisation", "machine", "-id"])]


class LogChunk(TenantModel):
    """Some kernel log lines of a machine, zlib-compressed JSON lines (observed; the last 5,000 lines are kept)."""

    machine = models.ForeignKey(Machine, on_delete=models.CASCADE, related_name="+")
    first_line = models.BigIntegerField()  # counts from 1 over the machine's life
    lines = models.IntegerField()
    at = models.DateTimeField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["machine", "first_line"], name="log_chunk_once")]


class MachineClass(TenantModel):
    """A named selection of machines by labels (desired; writer: actions)."""

    name = models.CharField(max_length=63)
    match_labels = models.JSONField(default=list)  # selectors: OR between entries, AND inside one
    spec = models.JSONField(default=dict)  # further fields of the template format, kept as given

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="machine_class_once")]
