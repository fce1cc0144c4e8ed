"""Numbers that shape a TCP endpoint. Sizes are bytes, times seconds."""

from dataclasses import dataclass

from nodeagent.wireguard.engine import MTU


@dataclass(frozen=True, slots=True)
class Settings:
    mtu: int = MTU
    receive_window: int = 64 << 10
    """What a new connection may have under way to us; guaranteed to every connection."""
    receive_window_limit: int = 1 << 20
    """What it may grow to while data comes fast, as far as its peer's pool allows."""
    congestion_window_limit: int = 1 << 20
    user_timeout: float = 60.0
    """How long sent data may stay unacknowledged before the connection is given up."""
    keepalive_idle: float = 120.0
    keepalive_interval: float = 15.0
    keepalive_probes: int = 4
    half_open_timeout: float = 10.0
    """How long an accepted connection may take to finish its handshake."""
    close_timeout: float = 20.0
    """How long a closed connection waits for the peer to close too."""
    time_wait: float = 10.0

    @property
    def segment_size(self) -> int:
        """Largest payload of one segment: the packet less IPv6 and TCP headers."""
        return self.mtu - 60
