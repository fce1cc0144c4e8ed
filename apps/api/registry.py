"""Every REST resource of the product, gathered from the apps' `api.py`."""

from functools import cache
from importlib import import_module

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from apps.api.base import TenantViewSet
from apps.api.routing import TenantRouter


@cache
def routers() -> list[TenantRouter]:
    """`router` of every `apps.*.api`, in the order of INSTALLED_APPS."""
    found = []
    for config in apps.get_app_configs():
        if config.name.startswith("apps.") and module_has_submodule(config.module, "api"):
            router = getattr(import_module(f"{config.name}.api"), "router", None)
            if isinstance(router, TenantRouter):
                found.append(router)
    return found


@cache
def watched() -> dict[str, type[TenantViewSet]]:
    """The lists that have a websocket watch, by name in the address: all lists whose viewset has a `kind`."""
    return {
        name: view
        for router in routers()
        for name, view in router.resources.items()
        if view.kind and hasattr(view, "list")
    }
