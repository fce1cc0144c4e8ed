"""ETag and If-Match: nobody overwrites a change they have not seen."""

import hashlib
import json
from typing import Any

from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from apps.api.problems import Stale

SAFE = ("GET", "HEAD", "OPTIONS")


def etag(representation: Any) -> str:
    """The tag of an object as it is shown."""
    text = json.dumps(representation, cls=JSONEncoder, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def mark(view: Any, response: Response) -> None:
    """Give the answer that shows one object its ETag; turn it into 304 if the caller has that already."""
    if view.action not in ("retrieve", "update", "partial_update") or response.status_code != 200:
        return
    response["ETag"] = etag(response.data)
    if view.action == "retrieve" and _names(view.request.headers.get("If-None-Match", ""), response["ETag"]):
        response.status_code, response.data = 304, None


def require_match(view: Any, found: Any) -> None:
    """Before a change: lock the row, and raise `Stale` unless If-Match (if sent) names the object as it is."""
    if view.request.method in SAFE:
        return
    type(found)._base_manager.select_for_update(of=("self",)).filter(pk=found.pk).first()
    found.refresh_from_db()
    wanted = view.request.headers.get("If-Match", "")
    if wanted and not _names(wanted, etag(view.get_serializer(found).data)):
        raise Stale


def _names(header: str, tag: str) -> bool:
    return header.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in header.split(","))
