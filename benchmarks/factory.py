"""An Image Factory that takes every schematic, so that nothing here needs the network."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Name a schematic by the hash of its canonical form, as the real one does."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"id": hashlib.sha256(body).hexdigest()}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Factory:
    """The factory in a thread of this process."""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer((HOST, 0), _Handler)
        self.url = f"http://{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
