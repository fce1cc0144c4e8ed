"""Idempotency-Key: a POST repeated with the same key is done once and answered twice.

The key's row is written in the transaction of the change, so both exist or neither; a second request with the key waits
for the first to commit.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from apps.api.models import IdempotentAnswer
from apps.api.problems import Conflict
from apps.tenants.sealing import seal, unseal

if TYPE_CHECKING:
    from apps.api.base import TenantRequest

KEPT = timedelta(days=1)
LONGEST_KEY = 200


def once(request: "TenantRequest", handle: Callable[[], Response]) -> Response:
    """The answer of `handle`, or the stored one of an earlier request with the same key.

    Raises `Conflict` when the key was used for something else. Errors are not stored: their transaction is undone.
    """
    key = request.headers.get("Idempotency-Key", "")
    if request.method != "POST" or not key:
        return handle()
    if len(key) > LONGEST_KEY:
        raise ValidationError({"Idempotency-Key": f"at most {LONGEST_KEY} characters"})
    body = json.dumps(request.data, cls=JSONEncoder, sort_keys=True)
    fresh: list[Response] = []

    def answer() -> tuple[int, Any]:
        response = handle()
        fresh.append(response)
        return response.status_code, response.data

    status, data = done_once(request.actor.id, key, f"{request.path}\n{body}", answer)
    return fresh[0] if fresh else Response(data, status=status, headers={"Idempotency-Replayed": "true"})


def done_once(actor_id: str, key: str, request: str, answer: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
    """What `answer` gives, as (status, JSON value), or gave an earlier request of this actor with the same key.

    Kept sealed for a day. Raises `Conflict` when the key was used for another `request`.
    """
    fingerprint = hashlib.sha256(request.encode()).hexdigest()
    IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    try:
        with transaction.atomic():
            row = IdempotentAnswer.new(actor_id=actor_id, key=key, fingerprint=fingerprint)
    except IntegrityError:
        return _again(actor_id, key, fingerprint)
    status, data = answer()
    content = json.dumps(data, cls=JSONEncoder).encode()
    row.status, row.sealed = status, seal(content, row.organisation_id, row.id)
    row.save(update_fields=["status", "sealed"])
    return status, data


def _again(actor_id: str, key: str, fingerprint: str) -> tuple[int, Any]:
    row = IdempotentAnswer.objects.get(actor_id=actor_id, key=key)
    if row.fingerprint != fingerprint:
        raise Conflict(f"the Idempotency-Key {key!r} was used for another request; use a new one")
    return row.status, json.loads(unseal(row.sealed, row.organisation_id, row.id))
