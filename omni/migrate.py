"""Bringing the database to this version: Django's migrations as the owner of the tables, then row-level security."""

import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg.conninfo import conninfo_to_dict

from apps.tenants import rls

LOCK = 0x6F6D6E69  # advisory: several processes may start at once, one migrates


def migrate(owner_dsn: str, app_role: str) -> None:
    """Migrate as the owner and give `app_role` its grants and policies. Repeatable; waits for others doing the same."""
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        connections.settings["owner"] = _django_settings(owner_dsn)
        try:
            call_command("migrate", database="owner", interactive=False, verbosity=0)
        finally:
            connections["owner"].close()
            del connections["owner"]
            del connections.settings["owner"]
        rls.apply(owner, app_role)


def _django_settings(dsn: str) -> dict[str, object]:
    parts = conninfo_to_dict(dsn)
    return connections["default"].settings_dict | {
        "NAME": parts.get("dbname"),
        "USER": parts.get("user"),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": parts.get("port", ""),
        "OPTIONS": {},
    }
