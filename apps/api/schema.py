"""How the REST interface describes itself (OpenAPI 3.1)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import django_filters
from django.db.models import BooleanField, IntegerField
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from apps.api.base import TenantViewSet
from apps.api.problems import CONTENT_TYPE
from apps.api.registry import watched


class Schema(AutoSchema):
    """Names operations after resource and action, and tells the verb that each needs."""

    def get_description(self) -> str:  # type: ignore[override]
        text = super().get_description() or ""
        verb = self.view.verbs.get(self.view.action) if isinstance(self.view, TenantViewSet) else None
        return f"{text}\n\nNeeds `{verb}`.".strip() if verb else text

    def get_filter_backends(self) -> list[Any]:
        return []  # they ask for rows, which there are none of without an organisation; see below

    def get_override_parameters(self) -> list[Any]:
        """The filters of a list, and `q` where it has a search."""
        view = self.view
        found = list(super().get_override_parameters())
        if not isinstance(view, TenantViewSet) or view.action != "list":
            return found
        if type(view).search is not TenantViewSet.search:
            found.append(OpenApiParameter("q", description="Words to search for."))
        return found + [_filter_parameter(name, kind) for name, kind in _filters(view)]

    def get_tags(self) -> list[str]:
        parts = self.path.removeprefix("/api/v1/").split("/")
        return [parts[2] if parts[0] == "organisations" and len(parts) > 2 else parts[0]]

    def get_operation_id(self) -> str:
        if not isinstance(self.view, TenantViewSet):
            return str(super().get_operation_id())
        parts = self.path.removeprefix("/api/v1/organisations/{slug}").strip("/").split("/")
        return f"{(parts[0] or 'organisation').replace('-', '_')}_{self.view.action}"


def _filters(view: TenantViewSet) -> Iterator[tuple[str, Any]]:
    """Names of a list's filters with what decides their type: a filter, or a column."""
    if view.filterset_class:
        yield from view.filterset_class.base_filters.items()
    elif view.filterset_fields:
        serializer: Any = view.get_serializer_class()
        columns = serializer.Meta.model._meta
        yield from ((name, columns.get_field(name)) for name in view.filterset_fields)


def _filter_parameter(name: str, kind: Any) -> OpenApiParameter:
    choices = kind.extra.get("choices") if isinstance(kind, django_filters.Filter) else kind.choices
    types: dict[type, Any] = {
        django_filters.BooleanFilter: bool,
        django_filters.NumberFilter: int,
        django_filters.IsoDateTimeFilter: datetime,
        BooleanField: bool,
        IntegerField: int,
    }
    found = next((python for handled, python in types.items() if isinstance(kind, handled)), str)
    return OpenApiParameter(name, found, enum=[value for value, _ in choices] if choices else None)


class Token(OpenApiAuthenticationExtension):
    target_class = "apps.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API token: `omni_...`."}


class Browser(OpenApiAuthenticationExtension):
    target_class = "apps.accounts.authentication.BrowserAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A browser's session."}


PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence: what failed, on what, what to do."},
        "request_id": {"type": "string", "description": "To find the request in logs and audit."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Every operation may answer with a problem document; those that change things know the two headers."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    answer = {"description": "Refused or failed.", "content": {CONTENT_TYPE: {"schema": _ref("Problem")}}}
    for item in result["paths"].values():
        for method, operation in item.items():
            operation["responses"]["default"] = answer
            if method in ("put", "patch", "delete"):
                _header(operation, "If-Match", "The ETag of the object as you know it; 412 if it changed meanwhile.")
            if method == "post":
                _header(operation, "Idempotency-Key", "Repeat the request with the same key and it is done once.")
    return result


def add_watches(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The websocket beside each list, which OpenAPI can only describe as a GET that is answered with 101."""
    for name, view in watched().items():
        listed = result["paths"][f"/api/v1/organisations/{{slug}}/{name}"]["get"]
        paging = ("cursor", "limit", "sort")
        result["paths"][f"/api/v1/organisations/{{slug}}/{name}/watch"] = {
            "get": {
                "operationId": f"{name.replace('-', '_')}_watch",
                "description": (
                    "Websocket: snapshots of the list, then what changes in it (apps/api/consumers.py has the"
                    f" messages).\n\nNeeds `{view.verbs['list']}`."
                ),
                "tags": [name],
                "parameters": [p for p in listed["parameters"] if p["name"] not in paging],
                "security": listed["security"],
                "responses": {"101": {"description": "Switching to the websocket protocol."}},
            }
        }
    return result


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _header(operation: dict[str, Any], name: str, description: str) -> None:
    operation.setdefault("parameters", []).append(
        {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}
    )
