"""Addresses of the OIDC providers, one for each organisation."""

from django.urls import path

from apps.proxies import oidc_views

urlpatterns = [
    path(
        "o/<slug:slug>/oidc/.well-known/openid-configuration",
        oidc_views.oidc_discovery,
        name="oidc-discovery",
    ),
    path("o/<slug:slug>/oidc/keys", oidc_views.oidc_keys, name="oidc-keys"),
    path("o/<slug:slug>/oidc/authorize", oidc_views.oidc_authorize, name="oidc-authorize"),
    path("o/<slug:slug>/oidc/token", oidc_views.oidc_token, name="oidc-token"),
]
