"""Row-level security stands behind the code: the role that serves cannot see or write across tenants."""

from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction

from apps.audit.models import AuditRecord
from apps.machines.models import JoinToken, Machine
from apps.tenants import rls
from apps.tenants.models import Organisation
from apps.tenants.scope import NoTenant, WrongTenant, tenant_scope


def machine_rows() -> list[tuple[UUID]]:
    """What raw SQL sees, without any manager's filter."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM machines_machine")
        return cursor.fetchall()


def test_every_tenant_table_is_secured(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, c.relrowsecurity, count(p.polname) FROM pg_class c LEFT JOIN pg_policy p"
            " ON p.polrelid = c.oid WHERE c.relkind = 'r' GROUP BY 1, 2"
        )
        secured = {name for name, on, policies in cursor.fetchall() if on and policies}
    tables = {model._meta.db_table for model in rls.tenant_models()} | {Organisation._meta.db_table}
    assert len(tables) > 15
    assert tables - secured == set()


def test_the_serving_role_cannot_bypass(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )
        assert cursor.fetchone() == (False, False, False, False)
        cursor.execute("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND pg_get_userbyid(relowner) = current_user")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT pg_has_role(current_user, 'omni_owner', 'member')")
        assert cursor.fetchone() == (False,)


def test_rows_of_another_tenant_do_not_exist(organisation: Organisation, other_organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        machine = Machine.new(uuid="m-1")
    with tenant_scope(other_organisation.id):
        assert machine_rows() == []
        with connection.cursor() as cursor:
            cursor.execute("UPDATE machines_machine SET uuid = 'stolen'")
            assert cursor.rowcount == 0
            cursor.execute("DELETE FROM machines_machine")
            assert cursor.rowcount == 0
        assert list(Organisation.objects.all()) == [other_organisation]
    with tenant_scope(organisation.id):
        assert machine_rows() == [(machine.id,)]
        assert Machine.objects.get().uuid == "m-1"


def test_a_row_cannot_be_written_for_another_tenant(
    organisation: Organisation, other_organisation: Organisation
) -> None:
    with tenant_scope(organisation.id):
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Machine(uuid="m-2", organisation_id=other_organisation.id).save()
        machine = Machine.new(uuid="m-1")
        machine.organisation_id = other_organisation.id
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            machine.save()


def test_without_a_tenant_nothing_is_there(organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        Machine.new(uuid="m-1")
    assert machine_rows() == []
    with pytest.raises(NoTenant):
        Machine.objects.count()


def test_scopes_do_not_nest_across_tenants(organisation: Organisation, other_organisation: Organisation) -> None:
    with tenant_scope(organisation.id), tenant_scope(organisation.id), pytest.raises(WrongTenant):
        tenant_scope(other_organisation.id).__enter__()


def test_audit_rows_stay(organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        row = AuditRecord.new(actor_kind="user", actor_name="a", verb="machine.label", object_kind="machine")
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            AuditRecord.objects.filter(id=row.id).update(actor_name="b")
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            AuditRecord.objects.filter(id=row.id).delete()
        assert AuditRecord.objects.get().actor_name == "a"


def test_lookups_find_a_tenant_and_nothing_else(organisation: Organisation, other_organisation: Organisation) -> None:
    with tenant_scope(organisation.id):
        token = JoinToken.new(name="default", sealed=b"s", token_hash=b"h" * 32, is_default=True)
    assert rls.ask("find_join_token", b"h" * 32) == [(organisation.id, token.id)]
    assert rls.ask("find_join_token", b"x" * 32) == []
    assert rls.ask("list_default_join_tokens") == [(organisation.id, token.id)]
    assert rls.ask("find_organisation", "umbrella") == [(other_organisation.id, "Umbrella")]
    assert rls.ask("list_organisations") == sorted([(organisation.id,), (other_organisation.id,)])
    for name in ("list_links", "list_balancer_ports"):
        assert rls.ask(name) == []


def test_lookups_are_closed_to_others(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, has_function_privilege('public', oid, 'execute'), prosecdef, proconfig FROM pg_proc"
            " WHERE proname LIKE 'omni\\_%'"
        )
        functions = cursor.fetchall()
    assert {name for name, *_ in functions} == {f"omni_{name}" for name in rls.LOOKUPS}
    assert all(definer and not public and config for _, public, definer, config in functions)
