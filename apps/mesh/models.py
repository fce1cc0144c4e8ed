"""What is kept of nodes in discovery services: who they are, and whether they shall still be found there."""

from django.db import models

from apps.tenants.models import TenantModel


class Affiliate(TenantModel):
    """A node of a cluster as discovery services know it (status; writer: the discovery reconciler).

    Made when a machine of the cluster says its node id. Once the machine is no member any more, or has another node id,
    the row is the task to take the affiliate out of the services; done, it stays as long as its cluster, so that what
    was removed is not brought back by a copy of an old update.

    It refers to nothing, because it outlives its machine and its cluster until the services have forgotten it.
    """

    cluster = models.UUIDField()
    cluster_name = models.CharField(max_length=63)
    cluster_hash = models.BinaryField(max_length=32)  # of the discovery cluster id, to find it by
    sealed_cluster_id = models.BinaryField()
    node_id = models.CharField(max_length=64)
    machine_uuid = models.CharField(max_length=64)
    machine_name = models.CharField(max_length=253)
    services = models.JSONField(default=list)  # URLs that its machine's configuration names
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
