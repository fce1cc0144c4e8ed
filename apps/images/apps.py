from django.apps import AppConfig


class ImagesConfig(AppConfig):
    name = "apps.images"
    label = "images"

    def ready(self) -> None:
        from apps.images.reconcilers import reconcile_schematic
        from apps.reconcile.registry import register

        register("schematic", reconcile_schematic)
