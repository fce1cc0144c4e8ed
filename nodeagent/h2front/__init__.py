"""HTTP/2 for browsers, kubectl and curl, in front of servers that speak HTTP/1.1 (RFC 9113, RFC 9112).

Each stream of a client becomes one request on a connection of its own to an upstream. `messages.py` translates heads,
`upstream.py` is the HTTP/1.1 side, `exchange.py` one request and its answer, `front.py` the client's connection, and
`floods.py` ends those that only cost. Bodies are never held: who reads slowly stops who sends.
"""

from nodeagent.h2front.exchange import STARTING, Route
from nodeagent.h2front.front import serve
from nodeagent.h2front.upstream import Open

__all__ = ["STARTING", "Open", "Route", "serve"]
