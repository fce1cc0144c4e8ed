from django.apps import AppConfig


class ReconcileConfig(AppConfig):
    name = "apps.reconcile"
    label = "reconcile"
