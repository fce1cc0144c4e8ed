"""How a process is, for whoever keeps it running: `/healthz`, `/readyz` and `/metrics` on a port of its own.

Web processes answer these among their pages; the others have no HTTP otherwise.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Ready = Callable[[], str]
"""What keeps the process from doing its work now, in words; empty when nothing does."""


def serve(host: str, port: int, ready: Ready, more_metrics: Callable[[], bytes] = bytes) -> ThreadingHTTPServer:
    """Answer from threads until the process ends. Raises OSError when the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self.answer(200, b"ok\n")
                case "/readyz":
                    reason = ready()
                    self.answer(503 if reason else 200, f"{reason or 'ok'}\n".encode())
                case "/metrics":
                    self.answer(200, generate_latest() + more_metrics(), CONTENT_TYPE_LATEST)
                case _:
                    self.answer(404, b"/healthz, /readyz and /metrics are here\n")

        def answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            pass  # probes come every few seconds

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="probe", daemon=True).start()
    return server
