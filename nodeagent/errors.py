"""What can go wrong when a machine is asked for something: one small hierarchy, with texts for people."""

from __future__ import annotations

import ssl

import grpc

from nodeagent.tls import NotInMaintenance

DETAIL_LIMIT = 2000
"""Characters of a machine's own error text that are kept."""


class NodeError(Exception):
    """A call to a machine failed. `code` is the gRPC status, `operation` the call, `detail` the machine's words."""

    meaning = "failed"

    def __init__(self, node: str, operation: str, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(node, operation, code, detail)
        self.node, self.operation, self.code, self.detail = node, operation, code, detail[:DETAIL_LIMIT]

    def __str__(self) -> str:
        reason = f": {self.detail}" if self.detail else ""
        return f"{self.operation} on {self.node} {self.meaning}{reason} ({self.code.name})"


class Unreachable(NodeError):
    """No connection, or it broke. The call may or may not have happened."""

    meaning = "did not get through"


class TimedOut(NodeError):
    """No answer within the deadline. The call may or may not have happened."""

    meaning = "took too long"


class WrongTrust(Unreachable):
    """TLS failed: the machine belongs to another cluster, or is configured (or not) where the other was expected."""

    meaning = "was refused by TLS; the machine is not in the state, or not in the cluster, that was expected"


class Denied(NodeError):
    """The role of the caller does not allow it, or the node allows it to nobody."""

    meaning = "is not allowed"


class Unsupported(NodeError):
    """This Talos version, machine role or mode has no such call."""

    meaning = "is not supported there"


class NotReady(NodeError):
    """Not in the machine's present state; later, perhaps."""

    meaning = "is not possible in the machine's present state"


class AlreadyDone(NodeError):
    """It has happened before."""

    meaning = "has happened already"


class NotFound(NodeError):
    """What was asked for is not there."""

    meaning = "found nothing"


class Invalid(NodeError):
    """The machine does not accept what it was given."""

    meaning = "was given something the machine does not accept"


class InstallFailed(NodeError):
    """The installer ended with an exit code other than 0 (Talos: 2 and 3 mean that repeating it cannot help)."""

    meaning = "ended with an error"

    def __init__(self, node: str, operation: str, exit_code: int, last_line: str) -> None:
        super().__init__(node, operation, grpc.StatusCode.OK, f"exit code {exit_code}: {last_line}")
        self.exit_code = exit_code
        self.permanent = exit_code in (2, 3)


class WatchLost(NodeError):
    """The machine ended a watch: read again and watch again."""

    meaning = "was ended by the machine"


_BY_CODE: dict[grpc.StatusCode, type[NodeError]] = {
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAUTHENTICATED: Denied,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.FAILED_PRECONDITION: NotReady,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyDone,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.INVALID_ARGUMENT: Invalid,
}

_FOREIGN_ALERTS = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "ACCESS_DENIED")


def from_status(node: str, operation: str, code: grpc.StatusCode, detail: str) -> NodeError:
    """The error of a gRPC status."""
    return _BY_CODE.get(code, NodeError)(node, operation, code, detail)


def from_connection(node: str, operation: str, error: OSError) -> NodeError:
    """The error of a connection that could not be made or broke, told by its cause."""
    foreign = isinstance(error, ssl.SSLCertVerificationError | NotInMaintenance) or (
        isinstance(error, ssl.SSLError) and any(alert in str(error.reason) for alert in _FOREIGN_ALERTS)
    )
    kind = WrongTrust if foreign else Unreachable
    return kind(node, operation, grpc.StatusCode.UNAVAILABLE, _words(error))


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, NotInMaintenance):
        return str(error)
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or error).removeprefix("TLSV13_").removeprefix("TLSV1_").removeprefix("SSLV3_")
        return f"TLS: {reason.replace('_', ' ').lower()}"
    return error.strerror or str(error) or type(error).__name__
