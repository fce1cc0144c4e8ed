"""What is kept of nodes in discovery services: who they are, and whether they shall still be found there."""

from django.db import models

from apps.clusters.models import Cluster
from apps.machines.models import Machine
from apps.tenants.models import TenantModel


class Affiliate(TenantModel):
    """A node of a cluster as discovery services know it (status; writer: the discovery reconciler).

    Made when a machine of the cluster says its node id. Once the machine is no member any more, or has another node id,
    the row is the task to take the affiliate out of the services; done, it stays for as long as a service would have
    kept the affiliate, for people who look.

    It refers to nothing, because it outlives its machine and its cluster until the services have forgotten it.
    """

    cluster = models.UUIDField()
    cluster_name = models.CharField(max_length=63)
    cluster_hash = models.BinaryField(max_length=32)  # of the discovery cluster id, to find it by
    sealed_cluster_id = models.BinaryField()
    node_id = models.CharField(max_length=64)
    machine_uuid = models.CharField(max_length=64)
    machine_name = models.CharField(max_length=253)
    services = models.JSONField(default=list)  # URLs that its machine's configuration names; gone: that still know it
    config_sha = models.CharField(max_length=64, default="")  # of the configuration that the services were read from
    created_at = models.DateTimeField(auto_now_add=True)
    gone_at = models.DateTimeField(null=True)  # since when it shall be found no more
    removed_at = models.DateTimeField(null=True)  # forgotten by all services, or given up
    attempts = models.IntegerField(default=0)
    problem = models.TextField(default="")  # why a service did not forget it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "node_id", "machine_uuid"], name="affiliate_once"),
        ]
        indexes = [
            models.Index(fields=["cluster_hash", "node_id"], name="affiliate_of_service"),
            models.Index(fields=["organisation", "machine_uuid"], name="affiliate_of_machine"),
        ]


class MeshStatus(TenantModel):
    """How the mesh of a cluster was when it was last read (status; writer: the mesh reconciler)."""

    UNKNOWN, ON, OFF = "unknown", "on", "off"

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="mesh")
    kubespan = models.CharField(max_length=8, default=UNKNOWN)  # on as soon as one node announces that it has it
    read_at = models.DateTimeField(null=True)
    complete = models.BooleanField(default=False)  # every node of it was read at `read_at`
    problem = models.TextField(default="")  # why nothing is known
    nodes = models.IntegerField(default=0)
    unread = models.IntegerField(default=0)  # nodes
    alone = models.IntegerField(default=0)  # nodes that are up with none of the others
    pairs = models.JSONField(default=dict)  # state -> how many
    broken_since = models.DateTimeField(null=True)  # since when there are pairs that should be up and are not
    worst = models.TextField(default="")  # the sentence of the gravest problem
    since = models.JSONField(default=dict)  # problem -> when it was first seen


class MeshNode(TenantModel):
    """A node of a mesh: how it announces itself, and what it said of its peers (status; writer: the mesh reconciler).

    `number` stands for its key in `peers` of all nodes of the cluster; a new key is a new number.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="mesh_nodes")
    machine = models.OneToOneField(Machine, on_delete=models.CASCADE, null=True, related_name="mesh_node")  # ours
    number = models.IntegerField()
    node_id = models.CharField(max_length=64, default="")
    name = models.CharField(max_length=253)
    role = models.CharField(max_length=16, default="worker")
    key = models.CharField(max_length=64, default="")  # public; empty without KubeSpan
    address = models.CharField(max_length=64, default="")
    endpoints = models.JSONField(default=list)
    addresses = models.JSONField(default=list)
    networks = models.JSONField(default=list)  # that it is part of
    place = models.CharField(max_length=253, default="")  # by its label
    seen_from = models.CharField(max_length=64, default="")  # where its link comes from
    clock = models.FloatField(null=True)  # seconds ahead
    read_at = models.DateTimeField(null=True)
    unread = models.CharField(max_length=300, default="")  # why it was not
    peers = models.BinaryField(null=True)  # kubespan.mesh.Peers, packed

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "number"], name="mesh_node_number_once")]
