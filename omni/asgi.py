"""The web process's entry: pages and REST by Django, websockets by Channels, the changes relay beside them."""

import asyncio
import contextlib
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omni.settings")

from django.core.asgi import get_asgi_application

django = get_asgi_application()  # sets Django up; what follows imports models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from apps.reconcile.changes import relay  # noqa: E402
from omni.limits import Limits  # noqa: E402
from omni.websockets import SameOrigin, websocket_urls  # noqa: E402

_routed = Limits(
    ProtocolTypeRouter({"http": django, "websocket": SameOrigin(AuthMiddlewareStack(URLRouter(websocket_urls())))})
)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """ASGI, with the relay running from startup to shutdown."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        await _routed(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    task = asyncio.create_task(relay())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await send({"type": "lifespan.shutdown.complete"})
