"""`omni mesh enable` and `disable`, against the real REST interface in this process."""

from collections.abc import Callable

import pytest
from click.testing import Result

from apps.tenants.models import Organisation
from tests.apps.clusters.world import World, uuid_of
from tests.apps.mesh.test_kubespan import Lab
from tests.omni.test_cli_fleet import omni

__all__ = ["omni"]

Omni = Callable[..., Result]


@pytest.fixture
def lab(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(World(organisation, monkeypatch))


def test_on_changed_and_off(omni: Omni, lab: Lab) -> None:
    said = omni("mesh", "enable", "lab", "--mtu", "1380", "--bypass", "--endpoint", f"{uuid_of(2)}=203.0.113.7:51820")
    assert said.exit_code == 0, said.output
    assert said.output.splitlines() == [
        "KubeSpan is on in lab.",
        "note: traffic to a node whose tunnel is down goes in clear, outside of the mesh",
        "Its machines take the new configuration one after another; see: omni mesh show lab",
    ]
    assert lab.patches() == {"500-lab-kubespan", f"500-cm-{uuid_of(2)}-kubespan"}
    assert "nothing changed" in omni("mesh", "enable", "lab").output
    omni("mesh", "enable", "lab", "--no-bypass", "--filter", "0.0.0.0/0", "--filter", "!10.0.0.0/8")
    lab.run()
    assert "mtu: 1380" in str(lab.config(1).find("KubeSpanConfig")).replace("'", "")
    omni("mesh", "enable", "lab", "--mtu", "0", "--filter", "", "--endpoint", f"{uuid_of(2)}=")
    lab.run()
    assert set(lab.config(2).find("KubeSpanConfig") or {}) == {"apiVersion", "kind", "enabled"}
    assert lab.patches() == {"500-lab-kubespan"}
    assert omni("mesh", "disable", "lab", "--yes").output.startswith("KubeSpan is off in lab.")
    assert lab.patches() == set()
    assert "is off in lab, as far as" in omni("mesh", "disable", "lab").output


def test_it_is_not_turned_off_without_being_asked(omni: Omni, lab: Lab) -> None:
    omni("mesh", "enable", "lab")
    refused = omni("mesh", "disable", "lab")
    assert "may lose their quorum" in refused.output
    assert refused.exit_code != 0
    assert lab.patches() == {"500-lab-kubespan"}


def test_errors_are_those_of_the_server(omni: Omni, lab: Lab) -> None:
    assert "takes 1280 to" in omni("mesh", "enable", "lab", "--mtu", "1").output
    assert "is not MACHINE=ADDRESS:PORT" in omni("mesh", "enable", "lab", "--endpoint", "here").output
    assert "nowhere" in omni("mesh", "enable", "nowhere").output
