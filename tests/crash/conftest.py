import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.tenants.models import Organisation
from omni import postgres
from tests.apps.clusters.test_simulated import site  # noqa: F401 (a fixture)
from tests.apps.gateways.lab import Lab
from tests.crash.clusters import ClusterStage


@pytest.fixture
def stage(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> ClusterStage:
    """Machines in memory, reconciled on the real database by a process that may die."""
    return ClusterStage(organisation, monkeypatch)


@pytest.fixture
def crash_point(request: pytest.FixtureRequest) -> int | None:
    """The one point to die at, or None for all."""
    return request.config.getoption("--crash-point")


@pytest.fixture
def lab(transactional_db: None, database: postgres.Postgres, organisation: Organisation) -> Iterator[Lab]:
    """A gateway in this process, and machines that join it."""
    with tempfile.TemporaryDirectory(prefix="omni-") as folder:
        yield Lab.make(Path(folder), database.dsn(postgres.APP), organisation)
