"""Websocket addresses, and the guard in front of them."""

from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.urls import URLPattern
from django.utils.module_loading import module_has_submodule


class SameOrigin:
    """Refuses browsers that come from another site's page: cookies would travel with them."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        origin, host = headers.get(b"origin", b"").decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
        if origin and urlsplit(origin).netloc != host:
            await receive()
            await send({"type": "websocket.close", "code": 4403})
        else:
            await self.app(scope, receive, send)


def websocket_urls() -> list[URLPattern]:
    """`websocket_urlpatterns` of every app's `consumers.py`."""
    patterns: list[URLPattern] = []
    for config in apps.get_app_configs():
        if config.name.startswith("apps.") and module_has_submodule(config.module, "consumers"):
            patterns += getattr(import_module(f"{config.name}.consumers"), "websocket_urlpatterns", [])
    return patterns
