import pytest

from apps.tenants.models import Organisation
from tests.apps.clusters.world import World
from tests.apps.mesh.house import House


@pytest.fixture
def world(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> World:
    """Machines in memory, reconciled on the real database."""
    return World(organisation, monkeypatch)


@pytest.fixture
def mesh_house(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> House:
    """A cluster without machines yet, whose mesh can be made up."""
    house = House.make(organisation)
    house.patch(monkeypatch)
    return house
