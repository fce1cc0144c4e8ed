"""`omni login` on the machine of an installation."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from omni.cli import admin, context, signin


def test_the_organisation_asked_for_is_the_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several organisations an owner's token is made for the one that is named."""
    made: list[str] = []

    def new_owner_token(config: Any, name: str, organisation: str = "") -> str:
        made.append(organisation)
        return "omni_secret"

    class Api:
        def __init__(self, *arguments: str) -> None: ...

        def __enter__(self) -> "Api":
            return self

        def __exit__(self, *error: object) -> None: ...

        def call(self, method: str, path: str) -> Any:
            return {"email": "ada@example.com", "items": [{"slug": "umbrella"}]}

    (tmp_path / "ca.crt").write_text("authority")
    monkeypatch.setattr(admin, "new_owner_token", new_owner_token)
    monkeypatch.setattr(signin, "Api", Api)
    saved: list[Any] = []
    monkeypatch.setattr(context, "save", saved.append)
    monkeypatch.setattr(context, "load", lambda: context.Contexts("", {}))
    done = CliRunner().invoke(signin.login, ["--data", str(tmp_path), "--organisation", "umbrella"])
    assert done.exit_code == 0, done.output
    assert made == ["umbrella"]
    assert saved[0].contexts["default"].organisation == "umbrella"
    assert "omni_secret" not in done.output
