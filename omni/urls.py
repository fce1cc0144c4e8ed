"""Every address of the server."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
]
