"""The audit as a download: CSV, or JSON with one object a line. Written while it is read, and itself audited."""

from collections.abc import AsyncIterator
from uuid import UUID

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from apps.access.actor import Actor
from apps.access.check import check
from apps.audit.actions import record
from apps.audit.models import AuditRecord
from apps.audit.queries import as_csv, as_json_lines, chunks
from apps.tenants.scope import tenant_scope
from apps.tenants.threads import in_thread

FORMS = {"csv": "text/csv", "json": "application/jsonl"}


def download(actor: Actor, rows: QuerySet[AuditRecord], form: str, filters: dict[str, str]) -> StreamingHttpResponse:
    """A file of these records in one of `FORMS`. Raises `Denied`. Call it in the organisation's scope."""
    check(actor, "audit.export")
    kept = {name.replace("\0", ""): value.replace("\0", "") for name, value in filters.items()}
    record(actor, "audit.export", "audit", form=form, filters=kept)
    rows = rows.filter(at__lte=timezone.now())
    name = f"audit-{timezone.now():%Y%m%d-%H%M}.{'csv' if form == 'csv' else 'jsonl'}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(_parts(actor.organisation_id, rows, form), content_type=FORMS[form], headers=headers)


async def _parts(organisation_id: UUID, rows: QuerySet[AuditRecord], form: str) -> AsyncIterator[bytes]:
    """A transaction of its own for each part, so that a slow reader holds none open."""
    last: UUID | None = None
    while True:
        older = rows.filter(id__lt=last) if last else rows

        def read(older: QuerySet[AuditRecord] = older) -> list[AuditRecord]:
            with tenant_scope(organisation_id):
                return next(chunks(older), [])

        found = await in_thread(read)
        if form == "csv":
            yield as_csv(found, heads=last is None).encode()
        else:
            yield as_json_lines(found).encode()
        if not found:
            return
        last = found[-1].id
