"""The second lock: row-level security in PostgreSQL, and the few questions that may be asked before a tenant is known.

`apply` runs as the tables' owner after every migration. The role that serves (`omni_app`) sees only rows of the tenant
set by `tenant_scope`; the lookups below are functions of the owner, each narrow, and give ids, never contents.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from django.apps import apps
from django.db import connection
from psycopg import sql

from apps.tenants.models import TenantModel

TENANT = "(SELECT nullif(current_setting('omni.tenant', true), '')::uuid)"  # a subselect is computed once a query


@dataclass(frozen=True)
class Lookup:
    """A function of the tables' owner, the only way to an id without a tenant in scope. `returns` are its columns."""

    arguments: str
    returns: str
    query: str


LOOKUPS: dict[str, Lookup] = {
    "find_organisation": Lookup(
        "slug text",
        "organisation_id uuid, name text",
        "SELECT o.id, o.name::text FROM tenants_organisation o WHERE o.slug = $1",
    ),
    "list_organisations": Lookup(  # timers go through them one scope at a time
        "", "organisation_id uuid", "SELECT o.id FROM tenants_organisation o ORDER BY o.id"
    ),
    "memberships_of": Lookup(
        "person uuid",
        "organisation_id uuid, slug text, name text, role text, second_factor boolean",
        "SELECT o.id, o.slug::text, o.name::text, m.role::text, o.second_factor_required FROM accounts_membership m"
        " JOIN tenants_organisation o ON o.id = m.organisation_id"
        " WHERE m.user_id = $1 AND m.accepted_at IS NOT NULL ORDER BY o.slug",
    ),
    "find_api_token": Lookup(
        "hash bytea",
        "organisation_id uuid, id uuid",
        "SELECT t.organisation_id, t.id FROM accounts_apitoken t WHERE t.token_hash = $1",
    ),
    "find_access_key": Lookup(
        "fingerprint text",
        "organisation_id uuid, id uuid",
        "SELECT k.organisation_id, k.id FROM accounts_accesskey k WHERE k.fingerprint = $1",
    ),
    "list_authorities": Lookup(  # for the port that asks for client certificates
        "",
        "organisation_id uuid, certificate bytea",
        "SELECT a.organisation_id, a.certificate FROM accounts_authority a ORDER BY a.id",
    ),
    "find_join_token": Lookup(
        "hash bytea",
        "organisation_id uuid, id uuid",
        "SELECT t.organisation_id, t.id FROM machines_jointoken t WHERE t.token_hash = $1",
    ),
    "list_default_join_tokens": Lookup(  # a signed token (v1, v2) does not say whose it is
        "",
        "organisation_id uuid, id uuid",
        "SELECT t.organisation_id, t.id FROM machines_jointoken t WHERE t.is_default ORDER BY t.id",
    ),
    "find_agent": Lookup(
        "hash bytea",
        "organisation_id uuid, id uuid",
        "SELECT a.organisation_id, a.id FROM machines_agent a WHERE a.credential_hash = $1",
    ),
    "find_link_by_key": Lookup(
        "key text",
        "organisation_id uuid, id uuid",
        "SELECT l.organisation_id, l.id FROM machines_link l WHERE l.public_key = $1",
    ),
    "find_link_by_unique_token": Lookup(
        "hash bytea",
        "organisation_id uuid, id uuid",
        "SELECT l.organisation_id, l.id FROM machines_link l WHERE l.unique_token_hash = $1"
        " ORDER BY l.machine_id IS NULL, l.id LIMIT 1",
    ),
    "find_link_by_address": Lookup(
        "address inet",
        "organisation_id uuid, id uuid",
        "SELECT l.organisation_id, l.id FROM machines_link l WHERE l.address = $1",
    ),
    "find_link_by_virtual_address": Lookup(
        "address inet",
        "organisation_id uuid, id uuid",
        "SELECT l.organisation_id, l.id FROM machines_link l WHERE l.virtual_address = $1",
    ),
    "find_gateways": Lookup(  # that run and can be dialled; the one that holds the link of an overlay address first
        "link inet",
        "name text, address text, holds boolean",
        "SELECT g.name::text, g.address::text, coalesce(l.gateway = g.name, false) FROM gateways_gateway g"
        " LEFT JOIN machines_link l ON l.address = $1 WHERE g.address <> '' AND g.seen_at > now() - interval '10 s'"
        " ORDER BY 3 DESC, g.seen_at DESC",
    ),
    "find_discovery_clusters": Lookup(  # of a discovery id, and what the machine at an overlay address is to them
        "hash bytea, address inet, node text",
        "organisation_id uuid, id uuid, machine_id uuid, says_node boolean, says_none boolean, said_by_other boolean",
        "SELECT s.organisation_id, s.cluster_id, m.machine_id, coalesce(o.node_id = $3, false),"
        " coalesce(o.node_id = '', false), EXISTS (SELECT FROM clusters_clustermachine om"
        " JOIN machines_machineobservation oo ON oo.machine_id = om.machine_id"
        " WHERE om.cluster_id = s.cluster_id AND oo.node_id = $3 AND om.machine_id IS DISTINCT FROM m.machine_id)"
        " FROM clusters_clustersecrets s"
        " LEFT JOIN machines_link l ON l.address = $2 AND l.organisation_id = s.organisation_id"
        " LEFT JOIN clusters_clustermachine m ON m.cluster_id = s.cluster_id AND m.machine_id = l.machine_id"
        " LEFT JOIN machines_machineobservation o ON o.machine_id = m.machine_id"
        " WHERE s.discovery_hash = $1",
    ),
    "list_links": Lookup(  # for a gateway that starts
        "", "organisation_id uuid, id uuid", "SELECT l.organisation_id, l.id FROM machines_link l ORDER BY l.id"
    ),
    "list_balancer_ports": Lookup(
        "",
        "organisation_id uuid, id uuid, port integer",
        "SELECT c.organisation_id, c.id, c.balancer_port FROM clusters_cluster c ORDER BY c.balancer_port",
    ),
}


def ask(lookup: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """The rows of one of `LOOKUPS`, e.g. `ask("find_join_token", digest)`. Needs no tenant in scope."""
    holders = ", ".join(["%s"] * len(arguments))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM omni_{lookup}({holders})", arguments)  # noqa: S608 (names of our own table)
        return cursor.fetchall()


def tenant_models() -> Iterator[type[TenantModel]]:
    """Every model whose rows belong to an organisation."""
    return (model for model in apps.get_models() if issubclass(model, TenantModel))


def apply(owner: psycopg.Connection[Any], app_role: str) -> None:
    """Give `app_role` what it needs and no more: grants, a policy on every tenant table, the lookups.

    `owner` is a connection of the role that owns the tables. Repeatable; runs in one transaction.
    """
    role = sql.Identifier(app_role)
    with owner.transaction(), owner.cursor() as cursor:

        def run(statement: str, **names: sql.Composable) -> None:
            cursor.execute(sql.SQL(statement).format(role=role, tenant=sql.SQL(TENANT), **names))

        run("GRANT USAGE ON SCHEMA public TO {role}")
        run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        run("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}")
        run("REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}")
        run("REVOKE UPDATE, DELETE ON audit_auditrecord FROM {role}")
        tables = [(model._meta.db_table, "organisation_id") for model in tenant_models()]
        for table, column in [("tenants_organisation", "id"), *tables]:
            names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
            run("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", **names)
            run("DROP POLICY IF EXISTS tenant ON {table}", **names)
            run("CREATE POLICY tenant ON {table} USING ({column} = {tenant})", **names)
        for name, lookup in LOOKUPS.items():
            types = sql.SQL(", ").join(sql.SQL(a.split()[1]) for a in lookup.arguments.split(", ") if a)
            function = {"function": sql.Identifier(f"omni_{name}"), "types": types}
            run("DROP FUNCTION IF EXISTS {function}({types})", **function)
            run(
                "CREATE FUNCTION {function}({arguments}) RETURNS TABLE ({returns}) LANGUAGE sql STABLE"
                " SECURITY DEFINER SET search_path = public, pg_temp AS {query}",
                arguments=sql.SQL(lookup.arguments),
                returns=sql.SQL(lookup.returns),
                query=sql.Literal(lookup.query),
                **function,
            )
            run("REVOKE ALL ON FUNCTION {function}({types}) FROM PUBLIC", **function)
            run("GRANT EXECUTE ON FUNCTION {function}({types}) TO {role}", **function)
