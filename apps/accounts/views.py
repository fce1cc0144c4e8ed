"""Pages before an organisation is known: home, first run, one-time sign-in links."""

from allauth.account.internal.flows.login import perform_login
from allauth.account.models import Login
from allauth.core.internal import ratelimit
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts import actions, links
from apps.accounts.authentication import session_identity
from apps.accounts.first_run import is_first_run_token
from apps.accounts.forms import FirstRunForm
from apps.accounts.identity import places_of, source_of
from apps.tenants import lookups


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """To one's organisation, to sign in or, while nobody owns the installation, to what the first run takes."""
    identity = session_identity(request)
    if identity is None:
        return redirect("account_login" if lookups.organisations() else "first-run-closed")
    found = places_of(identity)
    if len(found) == 1:
        return redirect(f"/o/{found[0].slug}/")
    return render(request, "accounts/home.html", {"places": found})


@require_GET
def first_run_closed(request: HttpRequest) -> HttpResponse:
    """Says where the first-run link is printed; tells nobody the link itself."""
    if lookups.organisations():
        return redirect("account_login")
    return render(request, "accounts/first_run_closed.html")


@never_cache
@require_http_methods(["GET", "POST"])
def first_run(request: HttpRequest, token: str) -> HttpResponse:
    """Make the first account: with the installation's own link, and only while it has no organisation."""
    if lookups.organisations() or not is_first_run_token(token, settings.SECRET_KEY):
        raise Http404("this link was used already or is of another installation")
    form = FirstRunForm(request.POST or None)
    if form.is_valid():
        values = form.cleaned_data
        try:
            user = actions.make_first_owner(
                values["email"], values["name"], values["password"], values["slug"], values["organisation"]
            )
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return perform_login(request, Login(user=user, redirect_url=reverse("home")))
    return render(request, "accounts/first_run.html", {"form": form})


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Come in by a one-time link. Opening it asks first, so that a preview of the address does not use it up."""
    if not ratelimit.consume(request, app="allauth.account", action="sign_in_link", limit_get=True):
        return render(request, "429.html", status=429)
    opened = links.open_link(secret)
    if opened is None:
        return render(request, "accounts/sign_in_link.html", {"opened": None}, status=410)
    identity = session_identity(request)
    by = identity.user if identity else None
    mine = opened.signs_in or by == opened.user
    if request.method == "GET" or not mine:
        return render(request, "accounts/sign_in_link.html", {"opened": opened, "mine": mine})
    try:
        user = links.take_link(secret, by, getattr(request, "request_id", ""), source_of(request.META))
    except ValidationError:
        return render(request, "accounts/sign_in_link.html", {"opened": None}, status=410)
    if not opened.signs_in:
        return redirect("home")
    there = "home" if user.has_usable_password() else "account_set_password"
    return perform_login(request, Login(user=user, redirect_url=reverse(there)))  # asks for a second factor, if any
