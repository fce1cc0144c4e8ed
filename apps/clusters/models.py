"""Clusters and what they are made of: desired rows written by actions, status rows written by reconcilers."""

from django.db import models

from apps.access.facts import Facts
from apps.machines.models import Machine
from apps.tenants.models import TenantModel
from talos.template import Endpoint


class Cluster(TenantModel):
    """A Kubernetes cluster as its people want it (desired; writer: actions).

    `deleting_at` is the tear-down phase: reconcilers give the machines back, then remove the row.
    """

    name = models.CharField(max_length=63)
    kubernetes_version = models.CharField(max_length=40)
    talos_version = models.CharField(max_length=40)
    initial_talos_version = models.CharField(max_length=40)  # never changes: decides the version contract
    endpoint_address = models.CharField(max_length=300, default="")  # URL of its people's own; machines are told of it
    virtual_ip = models.CharField(max_length=45, default="")  # shared by its control planes
    features = models.JSONField(default=dict)
    backup_configuration = models.JSONField(default=dict)
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)
    generation = models.BigIntegerField(default=1)  # grows with every change of anything in the cluster
    balancer_port = models.IntegerField(unique=True)  # on the overlay, 10000 to 35000, across organisations
    created_at = models.DateTimeField(auto_now_add=True)
    deleting_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="cluster_name_once"),
        ]

    @property
    def facts(self) -> Facts:
        """As policies see it."""
        return Facts("cluster", str(self.id), self.name, self.name, self.labels)

    @property
    def own_endpoint(self) -> Endpoint:
        """Where its Kubernetes API is reached without us; false when it has no such place."""
        return Endpoint(self.endpoint_address, self.virtual_ip)


class ClusterSecrets(TenantModel):
    """The secrets bundle of one cluster, sealed. Written once (writer: the cluster reconciler)."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="secrets")
    sealed = models.BinaryField()
    discovery_hash = models.BinaryField(max_length=32, null=True, db_index=True)  # SHA-256 of the discovery cluster id


class MachineSet(TenantModel):
    """Machines of one role in a cluster (desired; writer: actions). `name` is the full id, e.g. `prod-workers`."""

    CONTROL_PLANE, WORKER = "controlplane", "worker"

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="machine_sets")
    name = models.CharField(max_length=130)
    role = models.CharField(max_length=12)
    machine_class = models.CharField(max_length=63, default="")
    machine_count = models.IntegerField(null=True)
    unlimited = models.BooleanField(default=False)
    spec = models.JSONField(default=dict)  # the resource's spec, kept as given (strategies, bootstrap)
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="machine_set_once")]


class MachineSetNode(TenantModel):
    """A machine picked for a machine set (desired; writer: actions, and the allocator for machine classes).

    The machine may not have joined yet: it is named by UUID. A UUID is in at most one set.
    """

    machine_set = models.ForeignKey(MachineSet, on_delete=models.CASCADE, related_name="nodes")
    machine_uuid = models.CharField(max_length=64)
    by_class = models.BooleanField(default=False)  # picked by the allocator
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "machine_uuid"], name="machine_set_node_once")]


class ConfigPatch(TenantModel):
    """One Talos config patch and the level it applies at (desired; writer: actions).

    Levels, later wins: cluster; cluster and machine set; cluster and cluster machine; machine. Inside a level, by name.
    """

    name = models.CharField(max_length=253)
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, null=True, related_name="patches")
    machine_set = models.ForeignKey(MachineSet, on_delete=models.CASCADE, null=True, related_name="patches")
    machine_uuid = models.CharField(max_length=64, default="")  # with cluster: dies with membership
    sealed = models.BinaryField()  # patches can hold secrets
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="config_patch_once")]


class TemplateResource(TenantModel):
    """A template's resource without a table of its own: extensions, kernel arguments, install disks, manifests, checks.

    Kernel arguments and install disks belong to a machine: no cluster, and they outlive its membership.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, null=True, related_name="template_resources")
    kind = models.CharField(max_length=60)
    name = models.CharField(max_length=253)
    spec = models.JSONField(default=dict)
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "kind", "name"], name="template_resource_once")]


class ClusterStatus(TenantModel):
    """What the cluster reconciler concluded (status; writer: the cluster reconciler)."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="status")
    observed_generation = models.BigIntegerField(default=0)
    phase = models.CharField(max_length=16, default="scaling-up")  # scaling-up/-down, running, destroying
    ready = models.BooleanField(default=False)
    kubernetes_api_ready = models.BooleanField(default=False)
    bootstrap_machine_uuid = models.CharField(max_length=64, default="")  # fixed once, before the call
    bootstrapped_at = models.DateTimeField(null=True)
    ready_at = models.DateTimeField(null=True)  # first time
    step = models.CharField(max_length=60, default="")
    conditions = models.JSONField(default=list)


class ClusterMachine(TenantModel):
    """A machine's membership while it lasts, longer than the wish for it (status; writer: reconcilers).

    Made when a picked machine is free; gone only when the machine is back in maintenance mode.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="machines")
    machine_set = models.ForeignKey(MachineSet, on_delete=models.SET_NULL, null=True, related_name="+")
    role = models.CharField(max_length=12)
    machine = models.OneToOneField(Machine, on_delete=models.PROTECT, related_name="cluster_machine")
    kubernetes_version = models.CharField(max_length=40)  # copied once
    observed_generation = models.BigIntegerField(default=0)  # of the cluster, for which the config below is right
    created_at = models.DateTimeField(auto_now_add=True)
    leaving_at = models.DateTimeField(null=True)
    sealed_config = models.BinaryField(null=True)  # rendered, wanted
    config_inputs = models.CharField(max_length=64, default="")  # hash of what it was rendered from
    config_sha = models.CharField(max_length=64, default="")
    applied_sha = models.CharField(max_length=64, default="")
    applied_at = models.DateTimeField(null=True)  # a config was last sent, whether or not it was confirmed
    refused_sha = models.CharField(max_length=64, default="")  # of the config that the machine refused
    refusal = models.TextField(default="")  # its words
    slot_at = models.DateTimeField(null=True)  # since when this machine is the one (of its set) in change
    redacted_config = models.TextField(default="")  # last applied, without secrets
    config_error = models.TextField(default="")  # why no config could be made; the one above stays
    stage = models.CharField(max_length=16, default="")  # booting, installing, configuring, running, destroying, ...
    ready = models.BooleanField(default=False)
    step = models.CharField(max_length=60, default="")
    conditions = models.JSONField(default=list)
    install_disk = models.CharField(max_length=120, default="")
    schematic_id = models.CharField(max_length=64, default="")
    etcd_member_id = models.CharField(max_length=20, default="")
    node_name = models.CharField(max_length=253, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster"],
                condition=models.Q(role="controlplane", slot_at__isnull=False),
                name="control_plane_one_in_change",
            )
        ]


class Operation(TenantModel):
    """A call to a machine that must not be repeated blindly: written before the call, judged by the machine after.

    (status; writer: reconcilers). While `finished_at` is empty the machine is asked first whether it worked.
    """

    cluster_machine = models.ForeignKey(ClusterMachine, on_delete=models.CASCADE, related_name="operations")
    kind = models.CharField(max_length=12)  # install, upgrade, reboot, restart, bootstrap, reset
    generation = models.BigIntegerField()
    boot_id = models.CharField(max_length=40, default="")  # before the call
    target = models.CharField(max_length=300, default="")  # installer image
    started_at = models.DateTimeField(auto_now_add=True)
    tried_at = models.DateTimeField(null=True)  # of the last try
    finished_at = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0)
    error = models.TextField(default="")
    permanent = models.BooleanField(default=False)  # the machine said that trying again is of no use

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster_machine"], condition=models.Q(finished_at=None), name="operation_one_at_a_time"
            )
        ]
