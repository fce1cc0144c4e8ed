"""The gateways that run, so that others find them."""

from django.db import models


class Gateway(models.Model):
    """A gateway process that runs, or ran until it was killed (of no organisation; writer: that gateway).

    It counts as running while `seen_at` is fresh; see `roster.py`.
    """

    name = models.CharField(max_length=63, primary_key=True)  # links are held under it
    address = models.CharField(max_length=128, default="")  # HOST:PORT for `dial`; empty: only over its unix socket
    session = models.BigIntegerField()  # which process has the name: a number it drew at its start
    seen_at = models.DateTimeField()
