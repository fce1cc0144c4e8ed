"""A machine whose WireGuard and TCP are not ours joins the whole gateway, in namespaces of its own."""

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


def test_a_machine_joins_through_wireguard_go(transactional_db: None, database: postgres.Postgres, desk: Desk) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "omni.settings",
        "OMNI_DATABASE_URL": database.dsn(postgres.APP),
        "OMNI_KEK_FILE": settings.OMNI_KEK_FILE,
    }
    with tempfile.TemporaryDirectory(prefix="omni-") as folder:
        program = [sys.executable, "-m", "tests.apps.gateways.wireguardgo", folder, desk.organisation.slug, desk.token]
        done = subprocess.run(
            ["unshare", "-Urnm", *program], env=environment, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("joined\n")
    machine = desk.ask(lambda: Machine.objects.select_related("link").get())
    assert (machine.link.transport, machine.link.last_endpoint != "") == ("udp", True)
