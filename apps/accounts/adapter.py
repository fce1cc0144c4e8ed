"""What we tell allauth about accounts and second factors."""

from base64 import b64decode, b64encode
from typing import Any
from uuid import UUID

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest

from apps.accounts.identity import source_of
from apps.tenants.sealing import seal, unseal

_NOBODY = UUID(int=0)
"""Stands for the organisation of what a person has in none."""

_SECOND_FACTOR = UUID("7c0a2f5e-6d1b-4e7b-9a55-0f6f4b9d2e11")
"""Stands for the row that second factors are sealed for: allauth does not say whose a secret is."""


class AccountAdapter(DefaultAccountAdapter):
    """Nobody signs up by themselves: the first owner comes by a one-time link, others are invited."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "That email and password do not match.",
        "too_many_login_attempts": "Too many wrong tries. Wait five minutes, then try again.",
        "rate_limited": "Too many tries. Wait a few minutes, then try again.",
        "incorrect_password": "That is not your password.",
        "incorrect_code": "That code is wrong, too old, or was used before.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return str(settings.LOGIN_REDIRECT_URL)

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that the gateway vouches for."""
        return source_of(request.META)

    def add_message(self, *arguments: Any, message: str | None = None, **options: Any) -> None:
        """What went wrong only: where a person is led says what was done."""
        if message:
            super().add_message(*arguments, message=message, **options)


class SecondFactorAdapter(DefaultMFAAdapter):
    """Second factors: sealed at rest, named after what they are."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "That code is wrong, too old, or was used before.",
        "cannot_generate_recovery_codes": "Recovery codes stand in for a second factor; set one up first.",
    }

    def encrypt(self, text: str) -> str:
        return b64encode(seal(text.encode(), _NOBODY, _SECOND_FACTOR)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(b64decode(encrypted_text), _NOBODY, _SECOND_FACTOR).decode()

    def get_totp_issuer(self) -> str:
        return f"omni ({super().get_totp_issuer()})"

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {number + 1}"
