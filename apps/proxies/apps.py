from django.apps import AppConfig


class ProxiesConfig(AppConfig):
    name = "apps.proxies"
    label = "proxies"

    def ready(self) -> None:
        from apps.clusters.models import Cluster
        from apps.proxies.reconcile_access import KIND, reconcile_access
        from apps.reconcile.registry import register

        register(KIND, reconcile_access, lambda: Cluster.objects.values_list("id", flat=True))
