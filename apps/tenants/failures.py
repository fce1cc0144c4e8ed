"""Which failure of the database it is, where that matters."""

from psycopg.errors import DiskFull


def disk_full(error: Exception) -> bool:
    """Whether Django failed because PostgreSQL has no room left: nothing was changed, and there may be some later."""
    return isinstance(error.__cause__, DiskFull)
