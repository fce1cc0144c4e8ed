"""What client commands print."""

import pytest

from omni.cli import fleet, output

SAID = "a\x1b]0;title\x07\x1b[2Jb\x9bc\r\u202ed"
SHOWN = "a\ufffd]0;title\ufffd\ufffd[2Jb\ufffdc\ufffd\ufffdd"


def test_a_terminal_does_nothing_that_a_machine_says(capsys: pytest.CaptureFixture[str]) -> None:
    output.show([{"hostname": SAID}], [("hostname", "hostname")], "table")
    output.show_each([{"text": SAID}], "table", lambda row: f"---- booted ----\n{row['text']}\tend")
    table, boot, line = capsys.readouterr().out.splitlines()[1:]
    assert (table, boot, line) == (SHOWN, "---- booted ----", f"{SHOWN}\tend")


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_nor_in_forms_for_programs(capsys: pytest.CaptureFixture[str], form: str) -> None:
    output.show_each([{"text": SAID}], form, str)
    output.show([{"text": SAID}], [], form)
    printed = capsys.readouterr().out
    assert "title" in printed
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(printed)


def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    output.show([{"name": "Zoë 机器\u00a01"}], [("name", "name")], "table")
    assert "Zoë 机器\u00a01" in capsys.readouterr().out


def test_nor_what_an_item_of_the_status_says(capsys: pytest.CaptureFixture[str]) -> None:
    fleet._tell({"shape": "bad", "title": SAID, "sentence": SAID, "since": None, "done": 0, "steps": 0})
    assert capsys.readouterr().out.count(SHOWN) == 2
