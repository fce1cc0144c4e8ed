from django.apps import AppConfig


class MeshConfig(AppConfig):
    name = "apps.mesh"
    label = "mesh"

    def ready(self) -> None:
        from apps.mesh import reconcile_discovery, reconcile_mesh
        from apps.reconcile.registry import register

        register(reconcile_discovery.KIND, reconcile_discovery.reconcile_discovery, reconcile_discovery.objects)
        register(reconcile_mesh.KIND, reconcile_mesh.reconcile_mesh, reconcile_mesh.objects)
