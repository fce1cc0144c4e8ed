"""Addresses for whoever runs the server: alive, ready, measured."""

import socket
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """The database answers and was migrated; 503 with the reason otherwise."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
    except DatabaseError:
        return JsonResponse({"database": "does not answer; see the log"}, status=503)
    return JsonResponse({"database": "ok"})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics of this process and its gateway, for callers on private networks."""
    address = request.META.get("REMOTE_ADDR") or ""
    if address and not ip_address(address).is_private:
        return HttpResponse("metrics are for callers on private networks\n", status=403, content_type="text/plain")
    return HttpResponse(generate_latest() + gateway_metrics(settings.CONFIG.run), content_type=CONTENT_TYPE_LATEST)


def gateway_metrics(run: Path) -> bytes:
    """The numbers of the gateway with this folder of sockets; nothing while there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(run / "metrics.sock"))
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return b""
