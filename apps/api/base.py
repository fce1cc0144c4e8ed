"""The base of every REST resource of an organisation.

A resource is a viewset in its app's `api.py`, put on that module's `router`; `apps/api/urls.py` finds it there:

    router = TenantRouter()

    @router.resource("machines")
    class MachineViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, TenantViewSet):
        kind = "machine"                              # of `outbox.changed`: gives the list a websocket watch
        verbs = {"list": "machine.list", "retrieve": "machine.read", "label": "machine.label"}
        serializer_class = MachineSerializer          # every serializer shows `id`
        lookup_field = "uuid"
        sorts = {"name": ("observation__hostname", "uuid")}    # ?sort=name, ?sort=-name; the first is the default
        filterset_class = MachineFilter               # a TenantFilterSet, or filterset_fields

        def get_queryset(self): return queries.machines()
        def search(self, rows, text): ...             # ?q=...; may raise ValueError

        @action(detail=True, methods=["post"])
        def label(self, request, slug, uuid): actions.label(request.actor, self.get_object(), ...)

What the base does: the address's organisation is found and the caller's place in it (404 without one, whether or not it
exists); everything runs in one `tenant_scope`, so a refused or failed request leaves nothing; the verb of the action is
checked (403 with the sentence of `Denied`), and once more on the object where policies decide about it (404 where they
shut the caller out); errors are problem+json; lists are `{"items": [...], "next": cursor}`;
single objects carry an ETag, and If-Match is honoured by `get_object` on every unsafe method; POST honours
Idempotency-Key. Actions raise `ValidationError` (Django's or DRF's) and `Denied` and need no catching. An action
without a verb, or a verb not in the table, fails at import.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, cast
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from apps.access.actor import Actor
from apps.access.check import check, check_somewhere, is_governed
from apps.accounts.authentication import BrowserAuthentication, TokenAuthentication
from apps.accounts.identity import Identity, actor_in, new_request_id, organisation_by_slug, source_of
from apps.accounts.models import User
from apps.api import etags, idempotency
from apps.api.filters import TenantFilterBackend, TenantFilterSet
from apps.api.pagination import KeysetPagination
from apps.api.problems import NotSignedIn
from apps.tenants.scope import tenant_scope


class TenantRequest(Request):
    """A request that passed the base: `actor` is the caller in the address's organisation."""

    actor: Actor
    user: User


class TenantViewSet(GenericViewSet[Any]):
    """See the module's text."""

    verbs: ClassVar[dict[str, str]] = {}
    kind: ClassVar[str] = ""
    filterset_class: ClassVar[type[TenantFilterSet] | None] = None
    filterset_fields: ClassVar[Sequence[str]] = ()
    sorts: ClassVar[dict[str, tuple[str, ...]]] = {"id": ()}
    lookup_field = "id"

    authentication_classes = [TokenAuthentication, BrowserAuthentication]
    permission_classes = []
    filter_backends = [TenantFilterBackend]
    pagination_class = KeysetPagination
    metadata_class = None
    lookup_field = "id"
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    request: TenantRequest

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """DRF's dispatch, with the handler inside the organisation's transaction and after the check."""
        self.args, self.kwargs = args, kwargs
        wrapped = cast(TenantRequest, self.initialize_request(request, *args, **kwargs))
        self.request, self.headers = wrapped, self.default_response_headers
        try:
            self.initial(wrapped, *args, **kwargs)
            actor = self.enter(wrapped, kwargs["slug"])
            with tenant_scope(actor.organisation_id):
                method = (request.method or "").lower()
                if method not in self.http_method_names:
                    self.http_method_not_allowed(wrapped)
                self.permit(actor)
                handler = getattr(self, method, self.http_method_not_allowed)
                response = idempotency.once(self.request, lambda: handler(wrapped, *args, **kwargs))
                etags.mark(self, response)
        except Exception as error:
            response = self.handle_exception(error)
        self.response = self.finalize_response(wrapped, response, *args, **kwargs)
        return self.response

    def enter(self, request: Request, slug: str) -> Actor:
        """The caller's place in the organisation. Raises `NotSignedIn`, and `NotFound` without one."""
        identity = request.auth
        if not isinstance(identity, Identity):
            raise NotSignedIn
        organisation_id = organisation_by_slug(slug)
        request_id = getattr(request, "request_id", "") or new_request_id()
        actor = organisation_id and actor_in(identity, organisation_id, request_id, source_of(request.META))
        if not isinstance(actor, Actor):
            raise NotFound(f"there is no organisation {slug!r}, or you have no place in it")
        self.request.actor = actor
        return actor

    def permit(self, actor: Actor) -> None:
        """Raises `Denied`."""
        if self.action is None:  # a method this address does not have; answered 405 by the handler
            return
        check_somewhere(
            actor, self.verbs[self.action], str(self.kwargs.get(self.lookup_url_kwarg or self.lookup_field, ""))
        )

    def get_object(self) -> Any:
        """The object of the address, on which the action's verb is allowed; locked, and compared with If-Match, when it
        is about to change.
        """
        found = self.find(self.kwargs[self.lookup_url_kwarg or self.lookup_field])
        if is_governed(self.verbs[self.action]) and hasattr(found, "facts"):
            check(self.request.actor, self.verbs[self.action], found)
        self.check_object_permissions(self.request, found)
        etags.require_match(self, found)
        return found

    def find(self, key: str) -> Model:
        """The object with this key among `get_queryset()`. Raises `NotFound`."""
        rows = self.get_queryset()
        if self.lookup_field == "id":
            try:
                key = str(UUID(key))
            except ValueError:
                raise NotFound(f"there is no {self.kind or 'object'} {key!r} here") from None
        found = rows.filter(**{self.lookup_field: key}).first()
        if found is None:
            raise NotFound(f"there is no {self.kind or 'object'} {key!r} here")
        return found

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """`?q=` by `search`, then the filters."""
        text = self.request.query_params.get("q", "").strip()
        if text:
            try:
                queryset = self.search(queryset, text)
            except ValueError as error:
                raise ValidationError({"q": str(error)}) from None
        return super().filter_queryset(queryset)

    def search(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Narrow a list by `?q=`. Raises ValueError with the word that is not understood."""
        raise ValueError("this list has no text search")
