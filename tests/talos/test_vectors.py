"""Every vector that has a checker, as a test of its own."""

import json
from pathlib import Path

import pytest

from tests.talos.vectors import DEFAULT_FOLDER, checker, difference, kinds, load_cases, run
from tests.talos.vectors.__main__ import main


def every_case() -> list:
    return [
        pytest.param(module, case, id=f"{kind}-{name}")
        for kind in kinds(DEFAULT_FOLDER)
        if (module := checker(kind)) is not None
        for name, case in load_cases(module, kind, DEFAULT_FOLDER)
    ]


@pytest.mark.parametrize(("module", "case"), every_case())
def test_vector(module, case):
    found = difference(module, case)
    assert found is None, found


def test_a_changed_expectation_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture):
    """The runner fails, and says where, when our output is not the expected one."""
    data = json.loads((DEFAULT_FOLDER / "omni_misc.json").read_text())
    data["serviceAccountNames"][0]["fullID"] = "somebody-else"
    (tmp_path / "omni_misc.json").write_text(json.dumps(data))
    (tmp_path / "some_future_kind.json").write_text("[]")

    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "somebody-else" in printed
    assert "some_future_kind: not checked" in printed


def test_a_checker_that_raises_is_a_failed_case(tmp_path: Path):
    (tmp_path / "omni_misc.json").write_text('{"diff": [{"id": "broken"}]}')
    outcome = run(checker("omni_misc"), "omni_misc", tmp_path)
    assert (outcome.passed, outcome.total) == (0, 1)
    assert "KeyError" in outcome.differences["diff/broken"]


def test_a_folder_without_vectors_fails(tmp_path: Path):
    assert main([str(tmp_path)]) == 1
