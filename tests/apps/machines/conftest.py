"""A desk for each of two organisations."""

import pytest

from apps.tenants.models import Organisation
from tests.apps.machines.desk import Desk


@pytest.fixture
def desk(organisation: Organisation) -> Desk:
    return Desk(organisation)


@pytest.fixture
def other_desk(other_organisation: Organisation) -> Desk:
    return Desk(other_organisation)
