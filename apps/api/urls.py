"""`/api/v1/`: everything an app put on its router, the caller's own view, and the schema."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularYAMLAPIView

from apps.api import problems
from apps.api.login import LoginFetchView, LoginRequestsView
from apps.api.me import MeView, OrganisationsView, TokenView
from apps.api.registry import routers
from apps.api.sessions import OtherSessionsView, SessionsView, SessionView
from apps.dashboard.api import StatusViewSet
from apps.tenants.api import OrganisationViewSet

urlpatterns = [
    path("schema", SpectacularYAMLAPIView.as_view(), name="api-schema"),
    path("schema.json", SpectacularJSONAPIView.as_view(), name="api-schema-json"),
    path("login-requests", LoginRequestsView.as_view(), name="api-login-requests"),
    path("login-requests/fetch", LoginFetchView.as_view(), name="api-login-fetch"),
    path("me/sessions", SessionsView.as_view(), name="api-sessions"),
    path("me/sessions/end-others", OtherSessionsView.as_view(), name="api-sessions-end-others"),
    path("me/sessions/<slug:session_id>", SessionView.as_view(), name="api-session"),
    path("me/token", TokenView.as_view(), name="api-me-token"),
    path("me", MeView.as_view(), name="api-me"),
    path("organisations", OrganisationsView.as_view(), name="api-organisations"),
    path(
        "organisations/<slug:slug>",
        OrganisationViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
        name="api-organisation",
    ),
    path("organisations/<slug:slug>/status", StatusViewSet.as_view({"get": "retrieve"}), name="api-status"),
    path(
        "organisations/<slug:slug>/leave", OrganisationViewSet.as_view({"post": "leave"}), name="api-organisation-leave"
    ),
    *(path("organisations/", include(router.urls())) for router in routers()),
    re_path(r".*", problems.not_found),
]
