"""The roles as programs. Each runs until SIGTERM or SIGINT; each may be killed at any time and loses nothing.

`core` is web, worker and beat in one process, which is how `omni serve` runs them.
"""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import uvloop

from omni import logs
from omni.config import Config, split_address

WORKER_THREADS = 16


def prepare(config: Config, role: str) -> None:
    """Set logs and Django up for a role."""
    logs.setup(config.log, role)
    os.environ.update(config.to_env())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "omni.settings")
    import django

    django.setup()


def migrate(config: Config) -> None:
    """Bring the database to this version. Raises Django's and psycopg's errors."""
    prepare(config, "migrate")
    from psycopg.conninfo import conninfo_to_dict

    from omni.migrate import migrate as run

    run(config.owner_dsn, str(conninfo_to_dict(config.app_dsn)["user"]))


def core(config: Config) -> None:
    """Web on `DATA/run/core.sock`, worker and beat as threads beside it."""
    prepare(config, "core")
    worker_thread()
    beat_thread()
    _serve_web(socket=config.run / "core.sock")


def web(config: Config, listen: str) -> None:
    """Web alone, on an address (behind a proxy that speaks TLS) or on the unix socket."""
    prepare(config, "web")
    if listen:
        host, port = split_address(listen)
        _serve_web(host=host, port=port)
    else:
        _serve_web(socket=config.run / "core.sock")


def worker(config: Config) -> None:
    """Reconcilers alone. With `OMNI_REDIS_URL` they hear of work from a beat elsewhere, else they listen themselves."""
    prepare(config, "worker")
    worker_thread()
    if not config.redis_url:
        beat_thread()
    _wait_for_signal()


def beat(config: Config) -> None:
    """Timers and the dispatcher alone."""
    prepare(config, "beat")
    beat_thread()
    _wait_for_signal()


def gateway(config: Config) -> None:
    """Everything that machines talk to, and the public port."""
    prepare(config, "gateway")
    from apps.gateways.program import Settings, main

    host, port = split_address(config.listen)
    main(
        Settings(
            data=config.data,
            run=config.run,
            host=host,
            port=port,
            advertise=config.machine_host,
            wireguard=config.wireguard,
            wireguard_port=config.wireguard_port,
            dsn=config.app_dsn,
            certificate=Path(config.certificate) if config.certificate else config.data / "server.crt",
            key=Path(config.certificate_key) if config.certificate_key else config.data / "server.key",
        )
    )


def worker_thread() -> None:
    """Start a Celery worker with a pool of threads. It ends with the process: what it leaves is claimed again."""
    from celery.worker import WorkController

    from omni.celery import app

    controller = WorkController(
        app=app, pool_cls="threads", concurrency=WORKER_THREADS, without_gossip=True, without_mingle=True
    )
    threading.Thread(target=controller.start, name="worker", daemon=True).start()


def beat_thread() -> None:
    """Start Celery's timers and the dispatcher, which listens for hints."""
    from celery.beat import Scheduler, Service

    from apps.reconcile.dispatch import Dispatcher
    from omni.celery import app

    Dispatcher().start()
    timers = Service(app, max_interval=5, scheduler_cls=Scheduler)  # in memory: the schedule is code
    threading.Thread(target=timers.start, kwargs={"embedded_process": False}, name="beat", daemon=True).start()


def _serve_web(socket: Path | None = None, **address: Any) -> None:
    from omni.web import server

    if socket:
        socket.unlink(missing_ok=True)
    uvloop.run(server(socket=socket, **address).serve())
    os._exit(0)  # not waiting for worker threads: whatever they do may be cut off


def _wait_for_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)
