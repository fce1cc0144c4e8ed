"""Operation rows: written before a call that must not be repeated blindly, ended when the machine showed its effect."""

from django.utils import timezone

from apps.clusters.models import ClusterMachine, Operation

ACCEPTED = "accepted"
"""Target of a bootstrap operation whose call the machine took."""


def begin(row: ClusterMachine, kind: str, generation: int, boot_id: str = "", target: str = "") -> Operation:
    """Open an operation, or note one more try of the open one of the same kind."""
    now = timezone.now()
    running = Operation.objects.filter(cluster_machine=row, kind=kind, finished_at=None).first()
    if running is None:
        return Operation.new(
            cluster_machine=row,
            kind=kind,
            generation=generation,
            boot_id=boot_id,
            target=target,
            tried_at=now,
            attempts=1,
        )
    running.tried_at, running.boot_id, running.target, running.error = now, boot_id, target, ""
    running.attempts += 1
    running.save(update_fields=["tried_at", "boot_id", "target", "error", "attempts"])
    return running


def forgive_clock(row: ClusterMachine) -> None:
    """Count what was tried later than now as tried now: the clock was set back since, and nothing waits that long."""
    now = timezone.now()
    Operation.objects.filter(cluster_machine=row, finished_at=None, tried_at__gt=now).update(tried_at=now)
    if row.applied_at is not None and row.applied_at > now:
        row.applied_at = now
        row.save(update_fields=["applied_at"])


def accepted(row: ClusterMachine) -> None:
    """Note that the machine took the call; what it does with it shows later."""
    Operation.objects.filter(cluster_machine=row, finished_at=None).update(target=ACCEPTED)


def end(row: ClusterMachine, error: str = "", permanent: bool = False) -> None:
    """End the open operation of a machine, if there is one."""
    Operation.objects.filter(cluster_machine=row, finished_at=None).update(
        finished_at=timezone.now(), error=error, permanent=permanent
    )


def failed(row: ClusterMachine, error: str) -> None:
    """Note why the last try did not work; the operation stays open."""
    Operation.objects.filter(cluster_machine=row, finished_at=None).update(error=error)
