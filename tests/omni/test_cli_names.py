"""Machines by name on the command line."""

from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

from omni.cli import main
from omni.cli.api import Api
from omni.cli.names import uuid_of

ONE = "8f2c1a74-9be0-4c11-a0d7-3f6f2b9e51c8"
TWO = "8f2c1a75-9be0-4c11-a0d7-3f6f2b9e51c8"


class Listing:
    """An organisation of two machines."""

    def list(self, *parts: str, **query: Any) -> list[dict[str, Any]]:
        return [{"uuid": ONE, "hostname": "osl-1"}, {"uuid": TWO, "hostname": "osl-12"}]


API = cast(Api, Listing())


@pytest.mark.parametrize(("given", "uuid"), [(ONE.upper(), ONE), ("osl-1", ONE), ("osl-12", TWO), ("8f2c1a75", TWO)])
def test_one_machine_fits(given: str, uuid: str) -> None:
    assert uuid_of(API, given) == uuid


def test_fewer_than_one_row_is_no_list() -> None:
    assert CliRunner().invoke(main, ["machines", "list", "--limit", "0"]).exit_code == 2


@pytest.mark.parametrize("given", ["osl", "8f2c1a7", "ber"])
def test_none_or_several_fit(given: str) -> None:
    with pytest.raises(click.ClickException, match="is not the name or UUID of one machine"):
        uuid_of(API, given)
