"""The tenant of the work in hand.

`tenant_scope(id)` is the only way to a tenant's rows: it opens a transaction, tells PostgreSQL the tenant for that
transaction (row-level security compares every row with it) and tells the scoped managers. There is no scope for all
tenants; what must be found before a tenant is known is found by the lookup functions of `rls.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from django.db import connection, transaction

_current: ContextVar[UUID | None] = ContextVar("tenant", default=None)


class NoTenant(RuntimeError):
    """A tenant's rows were asked for outside `tenant_scope`."""


class WrongTenant(RuntimeError):
    """Work for one tenant tried to open another tenant's scope."""


def current_tenant() -> UUID:
    """The organisation id of the scope in force. Raises `NoTenant` outside one."""
    tenant = _current.get()
    if tenant is None:
        raise NoTenant("no organisation is in scope; wrap the work in tenant_scope(organisation_id)")
    return tenant


@contextmanager
def tenant_scope(organisation_id: UUID) -> Iterator[None]:
    """Run the block as one transaction of one organisation.

    A scope inside a scope of the same organisation joins it. Raises `WrongTenant` inside another organisation's.
    """
    outer = _current.get()
    if outer is not None and outer != organisation_id:
        raise WrongTenant(f"in the scope of organisation {outer}, cannot open that of {organisation_id}")
    inside_a_transaction = connection.in_atomic_block
    with transaction.atomic():
        if outer is None:
            _tell(str(organisation_id))
        token = _current.set(organisation_id)
        try:
            yield
        finally:
            _current.reset(token)
        if outer is None and inside_a_transaction:
            _tell("")  # the transaction goes on without a tenant


def _tell(tenant: str) -> None:
    """Set PostgreSQL's tenant for the rest of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('omni.tenant', %s, true)", [tenant])
