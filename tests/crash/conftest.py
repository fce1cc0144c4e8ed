import pytest

from apps.tenants.models import Organisation
from tests.crash.clusters import ClusterStage


@pytest.fixture
def stage(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> ClusterStage:
    """Machines in memory, reconciled on the real database by a process that may die."""
    return ClusterStage(organisation, monkeypatch)


@pytest.fixture
def crash_point(request: pytest.FixtureRequest) -> int | None:
    """The one point to die at, or None for all."""
    return request.config.getoption("--crash-point")
