"""Idempotency-Key: a POST repeated with the same key is done once and answered twice.

The key's row is written in the transaction of the change, so both exist or neither; a second request with the key waits
for the first to commit.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

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


def once(request: "TenantRequest", handle: Callable[[], Response]) -> Response:
    """The answer of `handle`, or the stored one of an earlier request with the same key.

    Raises `Conflict` when the key was used for something else. Errors are not stored: their transaction is undone.
    """
    key = request.headers.get("Idempotency-Key", "")
    if request.method != "POST" or not key:
        return handle()
    if len(key) > 200:
        raise ValidationError({"Idempotency-Key": "at most 200 characters"})
    body = json.dumps(request.data, cls=JSONEncoder, sort_keys=True)
    fingerprint = hashlib.sha256(f"{request.path}\n{body}".encode()).hexdigest()
    IdempotentAnswer.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
    try:
        with transaction.atomic():
            row = IdempotentAnswer.new(actor_id=request.actor.id, key=key, fingerprint=fingerprint)
    except IntegrityError:
        return _again(request, key, fingerprint)
    response = handle()
    content = json.dumps(response.data, cls=JSONEncoder).encode()
    row.status, row.sealed = response.status_code, seal(content, row.organisation_id, row.id)
    row.save(update_fields=["status", "sealed"])
    return response


def _again(request: "TenantRequest", key: str, fingerprint: str) -> Response:
    row = IdempotentAnswer.objects.get(actor_id=request.actor.id, key=key)
    if row.fingerprint != fingerprint:
        raise Conflict(f"the Idempotency-Key {key!r} was used for another request; use a new one")
    data = json.loads(unseal(row.sealed, row.organisation_id, row.id))
    return Response(data, status=row.status, headers={"Idempotency-Replayed": "true"})
