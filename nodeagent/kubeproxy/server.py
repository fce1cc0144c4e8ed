"""kubectl's way to clusters: an HTTP/1.1 server in front of their control planes, each request asked for at a gate."""

from pathlib import Path

from nodeagent.dial import Dial
from nodeagent.kubeproxy.ports import Gate


class KubernetesProxy:
    """Serves `/k8s/ORGANISATION/CLUSTER/...` on a unix socket, for callers named by the socket that connects."""

    def __init__(self, gate: Gate, dial: Dial) -> None:
        self._gate, self._dial = gate, dial

    async def start(self, socket: Path) -> None:
        """Listen on this path. Raises OSError."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop listening and end every request."""
        raise NotImplementedError
