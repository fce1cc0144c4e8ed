from django.apps import AppConfig


class MachinesConfig(AppConfig):
    name = "apps.machines"
    label = "machines"

    def ready(self) -> None:
        from apps.machines.models import Machine
        from apps.machines.reconcilers import reconcile_machine
        from apps.reconcile.registry import register

        register("machine", reconcile_machine, lambda: Machine.objects.values_list("id", flat=True))
