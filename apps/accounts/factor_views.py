"""Pages of second factors: allauth's, with what our templates show besides."""

from typing import Any

from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.base.views import IndexView
from allauth.mfa.recovery_codes.views import ViewRecoveryCodesView
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from apps.accounts.adapter import SecondFactorAdapter
from apps.accounts.credentials import has_second_factor
from apps.accounts.identity import Identity, places_of

CODE_WORKS = 90
"""Seconds in which one code of an authenticator app is right: its own half minute, the one before and the one after."""

HIDDEN = "●●●● ●●●●"


class _Once:
    """Of a form for a code: each is taken once, as long as clocks that are a little off make it right."""

    user: Any

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        if not cache.add(f"second-factor:{self.user.pk}:{''.join(filter(str.isdigit, code))}", 1, CODE_WORKS):
            raise ValidationError(SecondFactorAdapter.error_messages["incorrect_code"])
        return code


class CodeForm(_Once, AuthenticateForm):
    """The code at sign-in."""


class ConfirmForm(_Once, ReauthenticateForm):
    """The code before a change."""


class SecondFactorView(IndexView):
    """What a person has set up, and which of their organisations wait for it."""

    template_name = "mfa/index.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found = places_of(Identity(self.request.user))
        strict = [place for place in found if place.second_factor]
        context: dict[str, Any] = super().get_context_data(**kwargs)
        enough = has_second_factor(self.request.user)
        return context | {"strict": strict, "places": found, "enough": enough}


class RecoveryCodesView(ViewRecoveryCodesView):
    """The codes, shown once; later how many are left, the used ones struck out."""

    template_name = "mfa/recovery_codes/index.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        shown = iter(context["unused_codes"])
        used = self.request.user.authenticator_set.get(type="recovery_codes").data["used_mask"]
        codes = []
        for at in range(context["total_count"]):
            spent = bool(used >> at & 1)
            text = HIDDEN if spent else next(shown)
            codes.append((text if spent or not context["can_view_codes"] else f"{text[:4]} {text[4:]}", spent))
        if not context["can_view_codes"]:
            codes = [(HIDDEN, spent) for _, spent in codes]
        return context | {"codes": codes, "left": sum(not spent for _, spent in codes)}


@require_GET
def passkeys(request: HttpRequest) -> HttpResponse:
    """Passkeys are listed with the other second factors; allauth leads here after a change of one."""
    return redirect("mfa_index")
