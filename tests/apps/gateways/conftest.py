"""Machines and a gateway on the test database."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.tenants.models import Organisation
from omni import postgres
from tests.apps.gateways.lab import Lab
from tests.apps.machines.desk import Desk


@pytest.fixture
def lab(transactional_db: None, database: postgres.Postgres, organisation: Organisation) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="omni-") as folder:
        yield Lab.make(Path(folder), database.dsn(postgres.APP), organisation)


@pytest.fixture
def desk(organisation: Organisation) -> Desk:
    return Desk(organisation)
