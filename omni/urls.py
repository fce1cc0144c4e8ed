"""Every address of the server."""

from django.urls import include, path

from omni import health

handler500 = "apps.dashboard.errors.server_error"

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("", include("apps.accounts.urls")),
    path("", include("apps.dashboard.urls")),
    path("", include("apps.proxies.urls")),
    path("api/v1/", include("apps.api.urls")),
]
