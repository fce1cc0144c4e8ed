"""A cluster with its secrets, for what gives out Kubernetes identities."""

import pytest
from django.conf import settings

from apps.clusters.models import Cluster
from apps.tenants.models import Organisation
from apps.tenants.scope import tenant_scope
from tests.apps.gateways.conftest import lab

__all__ = ["lab"]


def make_cluster(within: Organisation, name: str = "prod", port: int = 10001) -> Cluster:
    with tenant_scope(within.id):
        return Cluster.new(
            name=name, kubernetes_version="1.33.0", talos_version="1.10.0", initial_talos_version="1.10.0",
            balancer_port=port, labels={"tier": "live"},
        )  # fmt: skip


@pytest.fixture
def cluster(organisation: Organisation) -> Cluster:
    """`prod` of `acme`."""
    return make_cluster(organisation)


@pytest.fixture
def url() -> str:
    """Where the installation is reached."""
    return str(settings.CONFIG.public_url)
