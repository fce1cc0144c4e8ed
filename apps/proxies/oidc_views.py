"""The endpoints of an organisation's OIDC provider, below `/o/SLUG/oidc`.

Discovery, keys and tokens answer for organisations that there are not as for those that have no key yet.
"""

import base64
import binascii
from typing import Any
from urllib.parse import unquote, urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from apps.access.actor import Actor
from apps.access.check import Denied, check
from apps.accounts import grants
from apps.accounts.authentication import session_identity
from apps.accounts.identity import Identity, actor_in, new_request_id, organisation_by_slug, source_of
from apps.clusters.models import Cluster
from apps.proxies import oauth, oidc, signers
from apps.proxies.models import TokenSigner
from apps.tenants.scope import tenant_scope

KEPT = "public, max-age=300"


@require_GET
def oidc_discovery(request: HttpRequest, slug: str) -> HttpResponse:
    """Where everything else is."""
    return JsonResponse(oidc.discovery(slug), headers={"Cache-Control": KEPT})


@require_GET
def oidc_keys(request: HttpRequest, slug: str) -> HttpResponse:
    """The keys that may have signed tokens that live."""
    organisation_id = organisation_by_slug(slug)
    found: list[TokenSigner] = []
    if organisation_id:
        with tenant_scope(organisation_id):
            found = list(TokenSigner.objects.order_by("-created_at"))
    return JsonResponse(signers.key_set(found), headers={"Cache-Control": KEPT})


@never_cache
@require_GET
def oidc_authorize(request: HttpRequest, slug: str) -> HttpResponse:
    """Where kubelogin sends the browser: to a person's decision, or back with an error."""
    query = dict(request.GET.lists())
    try:
        redirect_uri, state = oauth.destination(query)
    except oauth.Misdirected as error:
        return _told(request, str(error))
    try:
        wish = oauth.wish(query)
        identity = session_identity(request)
        if identity is None:
            return redirect(f"/accounts/login/?{urlencode({'next': request.get_full_path()})}")
        _check(identity, request, slug, wish.cluster)
        return redirect(grants.path_of(oidc.ask(slug, wish, source_of(request.META))))
    except oauth.Refused as refused:
        if redirect_uri == oauth.OUT_OF_BAND:
            return _told(request, str(refused))
        values = {"error": refused.code, "error_description": _described(refused), "state": state}
        return HttpResponseRedirect(oauth.answer(redirect_uri, **values))
    except grants.TooMany as error:
        return _told(request, " ".join(error.messages), status=429)


@csrf_exempt
@never_cache
@require_POST
def oidc_token(request: HttpRequest, slug: str) -> HttpResponse:
    """A code becomes an ID token. The client has no secret; it may say its name in the body or by Basic."""
    try:
        _check_client(request)
        form = {name: values[0] for name, values in request.POST.lists() if len(values) == 1}
        answer = oidc.redeem(slug, form, new_request_id(), source_of(request.META))
    except oauth.Refused as refused:
        unknown = refused.code == "invalid_client"
        headers = {"WWW-Authenticate": 'Basic realm="omni"'} if unknown else {}
        body = {"error": refused.code, "error_description": _described(refused)}
        return JsonResponse(body, status=401 if unknown else 400, headers=headers)
    return JsonResponse(answer, headers={"Pragma": "no-cache"})


def _check(identity: Identity, request: HttpRequest, slug: str, name: str) -> None:
    """Refuse a cluster that a member cannot reach before they are asked. Of strangers the page of the grant speaks."""
    organisation_id = organisation_by_slug(slug)
    actor = organisation_id and actor_in(identity, organisation_id, new_request_id(), source_of(request.META))
    if not isinstance(actor, Actor):
        return
    with tenant_scope(actor.organisation_id):
        cluster = Cluster.objects.filter(name=name).first()
        try:
            if cluster:
                check(actor, "cluster.access", cluster)
        except Denied as denied:
            if not denied.hidden:
                raise oauth.Refused("access_denied", str(denied)) from None
            cluster = None
    if cluster is None:
        raise oauth.Refused("access_denied", f"there is no cluster {name} in {slug}")


def _check_client(request: HttpRequest) -> None:
    if request.content_type != "application/x-www-form-urlencoded":
        raise oauth.Refused("invalid_request", "the body has to be a form: application/x-www-form-urlencoded")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    names = request.POST.getlist("client_id")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise oauth.Refused("invalid_client", "the Authorization header is not Basic") from None
        if secret:
            raise oauth.Refused("invalid_client", f"{oauth.CLIENT} has no secret")
        names.append(unquote(name))
    if set(names) != {oauth.CLIENT}:
        raise oauth.Refused("invalid_client", f"client_id has to be {oauth.CLIENT}")


def _described(refused: oauth.Refused) -> str:
    """The text of an error in the characters that OAuth leaves it (RFC 6749 5.2)."""
    text = str(refused).replace("“", "'").replace("”", "'").replace('"', "'").replace("\\", "/")
    return text.encode("ascii", "replace").decode()


def _told(request: HttpRequest, text: str, status: int = 400) -> HttpResponse:
    context: dict[str, Any] = {"text": text}
    return render(request, "oidc/refused.html", context, status=status)
