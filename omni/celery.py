"""The Celery application: in-process broker by default, Redis or Valkey by `OMNI_REDIS_URL`."""

import os

from celery import Celery

from apps.reconcile.resync import RESYNC_SECONDS
from omni.config import Config

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omni.settings")

app = Celery("omni")
app.conf.update(
    broker_url=Config.from_env().redis_url or "memory://localhost/",
    broker_transport_options={"polling_interval": 0.01},  # memory:// asks once a second otherwise
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # a worker outlives its broker, however long that is away
    task_publish_retry=False,  # the dispatcher announces again by itself
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
    timezone="UTC",
    beat_schedule={"resync": {"task": "reconcile.resync", "schedule": RESYNC_SECONDS}},
    imports=["apps.reconcile.tasks"],
)
