"""What processes without pages tell those who keep them running."""

import httpx

from omni import probe


def test_alive_ready_and_measured() -> None:
    reasons = ["the database does not answer", ""]
    server = probe.serve("127.0.0.1", 0, lambda: reasons.pop(0), lambda: b"of_our_own 1\n")
    host, port = server.server_address[:2]
    try:
        with httpx.Client(base_url=f"http://{host!s}:{port}", timeout=10) as client:
            assert client.get("/healthz").text == "ok\n"
            late = client.get("/readyz")
            assert (late.status_code, late.text) == (503, "the database does not answer\n")
            assert client.get("/readyz").status_code == 200
            numbers = client.get("/metrics").text
            assert "python_info" in numbers
            assert numbers.endswith("of_our_own 1\n")
            assert client.get("/").status_code == 404
    finally:
        server.shutdown()
        server.server_close()
