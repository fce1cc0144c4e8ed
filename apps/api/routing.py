"""Addresses of resources: `/api/v1/organisations/{slug}/{resource}/...` and the rule that each action has a verb."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver
from rest_framework.routers import SimpleRouter

from apps.access.verbs import VERBS
from apps.api.base import TenantViewSet

View = TypeVar("View", bound=type[TenantViewSet])

STANDARD = ("list", "create", "retrieve", "update", "partial_update", "destroy")


class TenantRouter:
    """The resources of one app. `resource(name)` registers a viewset under a kebab-case plural."""

    def __init__(self) -> None:
        self.resources: dict[str, type[TenantViewSet]] = {}

    def resource(self, name: str) -> Callable[[View], View]:
        """Class decorator. Raises `ImproperlyConfigured` for an action without a verb of the table."""

        def register(view: View) -> View:
            for action in actions_of(view):
                if view.verbs.get(action) not in VERBS:
                    raise ImproperlyConfigured(f"{view.__name__}.{action} has no verb of apps/access/verbs.py")
            self.resources[name] = view
            return view

        return register

    def urls(self) -> list[URLPattern | URLResolver]:
        """Patterns below `/api/v1/organisations/`."""
        router = SimpleRouter(trailing_slash=False)
        for name, view in self.resources.items():
            router.register(f"(?P<slug>[^/]+)/{name}", view, basename=f"api-{name}")
        return router.urls


def actions_of(view: type[TenantViewSet]) -> Iterator[str]:
    """Names of the actions that a viewset offers."""
    yield from (name for name in STANDARD if hasattr(view, name))
    yield from (extra.__name__ for extra in view.get_extra_actions())
