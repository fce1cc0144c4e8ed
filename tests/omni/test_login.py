"""`omni login` on the machine of an installation."""

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec

from nodeagent.tls import load_identity
from omni.cli import admin, context, signin
from talos import certificates


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


def test_an_authority_that_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that people meet with an installation's own certificate; they are told what to give."""
    now = datetime.now(UTC)
    shown = certificates.issue(
        certificates.self_signed_ca(["omni"], ec.generate_private_key(ec.SECP256R1()), now, now + timedelta(days=1)),
        common_name="omni",
        usages=[certificates.SERVER_AUTH],
        addresses=[ip_address("127.0.0.1")],
        dns_names=[],
        not_before=now,
        not_after=now + timedelta(days=1),
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_identity(tls, shown)

    def answer() -> None:
        with contextlib.suppress(OSError):  # the command hangs up
            server.accept()

    monkeypatch.setenv("OMNI_CONFIG", str(tmp_path / "config.json"))
    with socket.create_server(("127.0.0.1", 0)) as listener, tls.wrap_socket(listener, server_side=True) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        answering = threading.Thread(target=answer)
        answering.start()
        done = CliRunner().invoke(signin.login, [url, "--token", "omni_x"])
        answering.join()
    assert done.exit_code == 1
    assert "--ca FILE" in done.output
