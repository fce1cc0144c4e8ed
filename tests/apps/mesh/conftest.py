import pytest

from apps.tenants.models import Organisation
from tests.apps.clusters.world import World


@pytest.fixture
def world(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> World:
    """Machines in memory, reconciled on the real database."""
    return World(organisation, monkeypatch)
