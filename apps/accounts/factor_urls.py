"""Pages of second factors, below `/accounts/second-factor/`."""

from allauth.mfa.base import views as base
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.urls import path

from apps.accounts import factor_views as views

urlpatterns = [
    path("", views.SecondFactorView.as_view(), name="mfa_index"),
    path("code", base.authenticate, name="mfa_authenticate"),
    path("confirm", base.reauthenticate, name="mfa_reauthenticate"),
    path("app", totp.activate_totp, name="mfa_activate_totp"),
    path("app/remove", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("recovery-codes", views.RecoveryCodesView.as_view(), name="mfa_view_recovery_codes"),
    path("recovery-codes/new", recovery.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("passkeys", views.passkeys, name="mfa_list_webauthn"),
    path("passkeys/new", webauthn.add_webauthn, name="mfa_add_webauthn"),
    path("passkeys/sign-in", webauthn.login_webauthn, name="mfa_login_webauthn"),
    path("passkeys/confirm", webauthn.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("passkeys/<int:pk>/name", webauthn.edit_webauthn, name="mfa_edit_webauthn"),
    path("passkeys/<int:pk>/remove", webauthn.remove_webauthn, name="mfa_remove_webauthn"),
]
