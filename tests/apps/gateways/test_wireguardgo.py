"""Machine and whole gateway in namespaces of their own, one of them with a WireGuard and a TCP that are not ours."""

import os
import subprocess
import sys
import tempfile

import pytest
from django.conf import settings

from apps.machines.models import Machine
from omni import postgres
from tests.apps.machines.desk import Desk

pytestmark = pytest.mark.netns


def run(side: str, database: postgres.Postgres, desk: Desk) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "omni.settings",
        "OMNI_DATABASE_URL": database.dsn(postgres.APP),
        "OMNI_KEK_FILE": settings.OMNI_KEK_FILE,
    }
    with tempfile.TemporaryDirectory(prefix="omni-") as folder:
        program = [
            sys.executable,
            "-m",
            "tests.apps.gateways.wireguardgo",
            side,
            folder,
            desk.organisation.slug,
            desk.token,
        ]
        done = subprocess.run(
            ["unshare", "-Urnm", *program], env=environment, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("joined\n")


def test_a_machine_joins_through_wireguard_go(transactional_db: None, database: postgres.Postgres, desk: Desk) -> None:
    run("machine", database, desk)
    machine = desk.ask(lambda: Machine.objects.select_related("link").get())
    assert (machine.link.transport, machine.link.last_endpoint != "") == ("udp", True)


def test_machines_join_a_gateway_on_wireguard_go(
    transactional_db: None, database: postgres.Postgres, desk: Desk
) -> None:
    run("gateway", database, desk)
    links = desk.ask(lambda: sorted(Machine.objects.values_list("link__transport", flat=True)))
    assert links == ["agent", "grpc", "udp"]
