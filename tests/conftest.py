"""One embedded PostgreSQL for the whole run; tests talk to it as the role that the product runs as."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from apps.access.actor import Actor
from apps.accounts.actions import create_api_token
from apps.accounts.models import Membership, User
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from omni import postgres
from omni.migrate import migrate

hypothesis_settings.register_profile("omni", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("omni")


def pytest_addoption(parser: pytest.Parser) -> None:
    crash = parser.getgroup("crash", "tests/crash")
    crash.addoption("--crash-point", type=int, metavar="N", help="let the process die at point N only")
    crash.addoption("--crash-seed", type=int, action="append", metavar="SEED", help="draw by this seed; repeatable")


@pytest.fixture(scope="session")
def data_folder() -> Iterator[Path]:
    """A short-named folder, so that socket paths fit."""
    with tempfile.TemporaryDirectory(prefix="omni-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session", autouse=True)
def kek(data_folder: Path) -> None:
    """Settings that point at an installation's files get ones of this run."""
    path = data_folder / "kek"
    path.write_bytes(b"k" * 32)
    settings.OMNI_KEK_FILE = str(path)


@pytest.fixture(scope="session")
def database(data_folder: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[postgres.Postgres]:
    """The server: migrated by its owner, with row-level security."""
    fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}
    server = postgres.Postgres(data_folder / "postgres", data_folder / "run", data_folder / "postgres.log", fast)
    with postgres.running(server):
        with django_db_blocker.unblock():
            migrate(server.dsn(postgres.OWNER), postgres.APP)
        yield server


@pytest.fixture(scope="session")
def django_db_setup(database: postgres.Postgres) -> Iterator[None]:
    """pytest-django's own fixture, replaced: connect to `database` as omni_app, create nothing."""
    connections.settings["default"].update(
        HOST=str(database.run), NAME=postgres.DATABASE, USER=postgres.APP, OPTIONS={}
    )
    owner = database.dsn(postgres.OWNER)
    flush = TransactionTestCase._fixture_teardown

    def empty_all_tables(case: TransactionTestCase) -> None:
        """After a test that commits: omni_app may not truncate, so the owner does."""
        with psycopg.connect(owner, autocommit=True) as administrator:
            tables = [table for table in connection.introspection.table_names() if table not in KEPT_TABLES]
            for last in (False, False, True):
                try:
                    administrator.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
                    break
                except psycopg.errors.DeadlockDetected:  # with a reader that the test left to end by itself
                    if last:
                        raise

    TransactionTestCase._fixture_teardown = empty_all_tables
    yield
    TransactionTestCase._fixture_teardown = flush
    connections.close_all()


KEPT_TABLES = {"django_migrations", "django_content_type", "auth_permission"}


def make_organisation(slug: str) -> Organisation:
    organisation = Organisation(slug=slug, name=slug.title())
    with tenant_scope(organisation.id):
        organisation.save(force_insert=True)
    return organisation


@pytest.fixture
def organisation(db: None) -> Organisation:
    """An organisation `acme`. Its rows are reached inside `tenant_scope(organisation.id)`."""
    return make_organisation("acme")


@pytest.fixture
def other_organisation(db: None) -> Organisation:
    """A second organisation `umbrella`, which must never see anything of the first."""
    return make_organisation("umbrella")


@pytest.fixture
def actor(organisation: Organisation) -> Callable[..., Actor]:
    """`actor("operator")`: somebody with that role in `organisation`, or in the organisation given."""

    def make(role: str = "owner", within: Organisation = organisation) -> Actor:
        return Actor("user", f"{role}-id", f"{role}@example.com", within.id, role, "request-1", "192.0.2.7")

    return make


@pytest.fixture
def member(organisation: Organisation) -> Callable[..., User]:
    """`member("reader")`: a person with that role in `organisation`, or in the organisation given."""

    def make(role: str = "owner", within: Organisation = organisation, email: str = "") -> User:
        user = User.objects.create_user(email or f"{role}@{within.slug}.example.com")
        with tenant_scope(within.id):
            Membership.new(user=user, role=role)
        return user

    return make


@pytest.fixture
def api(member: Callable[..., User], organisation: Organisation) -> Callable[..., APIClient]:
    """`api("admin")`: a REST client with a token of a new person with that role."""

    def make(role: str = "owner", within: Organisation = organisation, user: User | None = None) -> APIClient:
        user = user or member(role, within)
        acting = Actor("user", str(user.id), user.email, within.id, role)
        with tenant_scope(within.id):
            secret = create_api_token(acting, user, "test", role).secret
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return make
