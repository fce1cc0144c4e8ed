from django.apps import AppConfig


class ClustersConfig(AppConfig):
    name = "apps.clusters"
    label = "clusters"

    def ready(self) -> None:
        from apps.clusters.models import Cluster, ClusterMachine
        from apps.clusters.reconcile_cluster import reconcile_cluster
        from apps.clusters.reconcile_machine import reconcile_cluster_machine
        from apps.reconcile.registry import register

        register("cluster", reconcile_cluster, lambda: Cluster.objects.values_list("id", flat=True))
        register(
            "cluster-machine", reconcile_cluster_machine, lambda: ClusterMachine.objects.values_list("id", flat=True)
        )
