"""What the ways in for kubectl keep: keys that sign its tokens, and what stands in clusters for people."""

from django.db import models

from apps.accounts.models import AccessKey
from apps.clusters.models import Cluster
from apps.tenants.models import TenantModel


class TokenSigner(TenantModel):
    """A key of an organisation that signs Kubernetes tokens (RS256). The newest signs; tokens of each are accepted."""

    kid = models.CharField(max_length=36, unique=True)
    public = models.BinaryField()  # PEM
    sealed_key = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)


class DirectIdentity(TenantModel):
    """An access key that is a ServiceAccount in its cluster: it works there without this installation.

    Made by the action that gives out its token; the cluster-access reconciler keeps its binding right and takes it out
    of the cluster when the key ends. Until `removed_at` a key that ended may still be good in the cluster.
    """

    key = models.OneToOneField(AccessKey, on_delete=models.CASCADE, related_name="direct")
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    cluster_role = models.CharField(max_length=20)  # that it is bound to
    removed_at = models.DateTimeField(null=True)


class ClusterAccess(TenantModel):
    """Whether a cluster knows our groups and has forgotten whom it shall (status; writer: the cluster-access
    reconciler)."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="access")
    conditions = models.JSONField(default=list)
    looked_at = models.DateTimeField(null=True)  # when the cluster was asked last, and answered
