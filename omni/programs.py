"""The roles as programs. Each runs until SIGTERM or SIGINT; each may be killed at any time and loses nothing.

`core` is web, worker and beat in one process, which is how `omni serve` runs them.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import redis
import uvloop

from nodeagent.sockets import private_folder
from omni import keys, logs, probe
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
    _serve_web(config, config.run / "core.sock")


def web(config: Config, bind: str) -> None:
    """Web alone: for gateways elsewhere on the internal address, for an HTTP proxy on `bind`, else for the gateway of
    this host on `DATA/run/core.sock`."""
    keys.require(config, "secret", "kek")
    prepare(config, "web")
    _serve_web(config, private_folder() / "core.sock" if bind or config.internal else config.run / "core.sock", bind)


def worker(config: Config) -> None:
    """Reconcilers alone. With `OMNI_REDIS_URL` they hear of work from a beat elsewhere, else they listen themselves."""
    keys.require(config, "kek")
    prepare(config, "worker")
    _probe(config, lambda: _database_problem() or _broker_problem(config))
    worker_thread()
    if not config.redis_url:
        beat_thread()
    _wait_for_signal()


def beat(config: Config) -> None:
    """Timers and the dispatcher alone, once it is this one's turn: of several beats one is active."""
    prepare(config, "beat")
    _probe(config, lambda: _database_problem() or _broker_problem(config))
    from apps.reconcile.lease import wait_for_turn
    from apps.reconcile.tasks import end_process

    wait_for_turn(lost=end_process)
    beat_thread()
    _wait_for_signal()


def gateway(config: Config) -> None:
    """Everything that machines talk to, and the public port."""
    keys.require(config, "kek", "wireguard.key", *(["internal.crt"] if config.internal else []))
    prepare(config, "gateway")
    from apps.gateways.discovery import DiscoverySettings
    from apps.gateways.program import Settings, main
    from omni.health import gateway_metrics

    run = private_folder() if config.internal else config.run
    host, port = split_address(config.listen)
    own = config.key_folder / "server.crt", config.key_folder / "server.key"
    certificate, key = (Path(config.certificate), Path(config.certificate_key)) if config.certificate else own

    discovery = DiscoverySettings(
        file=config.data / "discovery" / f"{config.name}.binpb",
        interval=config.discovery_interval,
        proxies=[ip_network(network) for network in config.trusted_networks],
    )

    def problem() -> str:
        return _database_problem() or ("" if gateway_metrics(run) else "links are being restored")

    _probe(config, problem, lambda: gateway_metrics(run))
    main(
        Settings(
            name=config.name,
            wireguard_key=config.key_folder / "wireguard.key",
            run=run,
            host=host,
            port=port,
            advertise=config.machine_host,
            wireguard=config.wireguard,
            wireguard_port=config.wireguard_port,
            dsn=config.app_dsn,
            certificate=certificate,
            key=key,
            identity=keys.identity(config) if config.internal else None,
            internal=split_address(config.internal) if config.internal else None,
            internal_address=config.internal_address,
            web=tuple(split_address(address) for address in config.web_addresses),
            discovery=discovery if config.discovery else None,
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


def _serve_web(config: Config, path: Path, bind: str = "") -> None:
    from omni.web import server, take_relayed, unix_socket

    sockets = [unix_socket(path)]
    if bind:
        host, port = split_address(bind)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sockets.append(socket.create_server((host, port), family=family, backlog=1024))

    async def serve() -> None:
        if config.internal:
            relays = await take_relayed(*split_address(config.internal), keys.identity(config), path)
        await server(config.trusted_networks).serve(sockets)
        if config.internal:
            relays.close()

    uvloop.run(serve())
    os._exit(0)  # not waiting for worker threads: whatever they do may be cut off


def _probe(config: Config, ready: probe.Ready, more_metrics: Callable[[], bytes] = bytes) -> None:
    if config.probe:
        probe.serve(*split_address(config.probe), ready, more_metrics)


def _database_problem() -> str:
    from django.db import Error, connection

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations LIMIT 1")
    except Error:
        return "the database does not answer, or was not migrated"
    finally:
        connection.close()
    return ""


def _broker_problem(config: Config) -> str:
    if not config.redis_url:
        return ""
    try:
        with redis.Redis.from_url(config.redis_url, socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
    except redis.RedisError:
        return "Redis does not answer"
    return ""


def _wait_for_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)
