"""Pages before an organisation is known."""

from django.urls import include, path

from apps.accounts import views

urlpatterns = [
    path("", views.home, name="home"),
    path("first-run", views.first_run_closed, name="first-run-closed"),
    path("first-run/<str:token>", views.first_run, name="first-run"),
    path("accounts/link/<str:secret>", views.sign_in_link, name="sign-in-link"),
    path("accounts/", include("allauth.urls")),
]
