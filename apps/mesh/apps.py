from django.apps import AppConfig


class MeshConfig(AppConfig):
    name = "apps.mesh"
    label = "mesh"

    def ready(self) -> None:
        from apps.mesh.reconcile_discovery import KIND, objects, reconcile_discovery
        from apps.reconcile.registry import register

        register(KIND, reconcile_discovery, objects)
