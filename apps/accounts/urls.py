"""Pages before an organisation is known.

Of allauth's pages only these: an address that nobody verified must not be changed by its owner, or somebody could wait
under another's address for an invitation.
"""

from allauth.account import views as allauth
from django.urls import include, path

from apps.accounts import views

urlpatterns = [
    path("", views.home, name="home"),
    path("first-run", views.first_run_closed, name="first-run-closed"),
    path("first-run/<str:token>", views.first_run, name="first-run"),
    path("accounts/link/<str:secret>", views.sign_in_link, name="sign-in-link"),
    path("accounts/login/", allauth.login, name="account_login"),
    path("accounts/logout/", allauth.logout, name="account_logout"),
    path("accounts/signup/", allauth.signup, name="account_signup"),  # closed; sign-in names it
    path("accounts/inactive/", allauth.account_inactive, name="account_inactive"),
    path("accounts/reauthenticate/", allauth.reauthenticate, name="account_reauthenticate"),
    path("accounts/password/set/", allauth.password_set, name="account_set_password"),
    path("accounts/password/change/", allauth.password_change, name="account_change_password"),
    path("accounts/second-factor/", include("apps.accounts.factor_urls")),
]
