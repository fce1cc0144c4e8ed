"""`python -m nodeagent.simulator`: start simulated machines and keep them running."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from nodeagent.simulator import hardware
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.mesh import Mesh
from nodeagent.simulator.timings import Timings
from nodeagent.simulator.underlay import Faults

FILES_PER_MACHINE = 16
API_VARIABLE = "OMNI_SIMULATOR_API"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="omni simulator", description="Simulated Talos machines.")
    parser.add_argument(
        "--api",
        metavar="URL",
        default=os.environ.get(API_VARIABLE),
        help=f"machine API with its join token: grpc://HOST:PORT?jointoken=TOKEN; given as ${API_VARIABLE}"
        " it does not show in the list of processes",
    )
    parser.add_argument("--machines", type=int, default=1, metavar="N")
    parser.add_argument("--transport", choices=("udp", "grpc"), default="udp", help="how WireGuard packets travel")
    parser.add_argument("--talos-version", default="1.13.8", metavar="VERSION", help="of the boot medium")
    parser.add_argument("--schematic", default="", metavar="ID", help="of the boot medium")
    parser.add_argument("--factory", default="https://factory.talos.dev/", metavar="URL", help="maker of the medium")
    parser.add_argument(
        "--listen-base", metavar="127.A.B.C", help="also listen on this host: the first machine here, the next one up"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep disks here; in memory without it")
    parser.add_argument("--seed", default="talos", help="names the hardware: the same seed, the same machines")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="PEM roots for an https:// API")
    parser.add_argument(
        "--cut",
        type=pair,
        action="append",
        default=[],
        metavar="N,M",
        help="no packet of KubeSpan passes between these two machines, counted from 1; may be repeated",
    )
    parser.add_argument(
        "--nat", type=outside, action="append", default=[], metavar="N=IP:PORT", help="how others see this machine"
    )
    parser.add_argument(
        "--clock", type=wrong_clock, action="append", default=[], metavar="N=SECONDS", help="its clock is wrong by this"
    )
    parser.add_argument("--slowness", type=float, default=1.0, metavar="FACTOR", help="scales all delays")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    named = {
        "--cut": [number for numbers in given.cut for number in numbers],
        "--nat": [number for number, _ in given.nat],
        "--clock": [number for number, _ in given.clock],
    }
    for option, numbers in named.items():
        for number in numbers:
            if not 1 <= number <= given.machines:
                parser.error(f"argument {option}: there is no machine {number}; they are 1 to {given.machines}")
    return given


def pair(text: str) -> tuple[int, int]:
    """Two machines: `1,2`."""
    try:
        one, other = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no pair of machines; write 1,2") from None
    return one, other


def outside(text: str) -> tuple[int, str]:
    """A machine and where others see it: `1=203.0.113.7:41641`."""
    number, _, endpoint = text.partition("=")
    host, _, port = endpoint.rpartition(":")
    try:
        ip_address(host.strip("[]"))
        return int(number), f"{host}:{int(port)}"
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1=203.0.113.7:41641") from None


def wrong_clock(text: str) -> tuple[int, float]:
    """A machine and seconds: `1=-90`."""
    number, _, seconds = text.partition("=")
    try:
        return int(number), float(seconds)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1=-90") from None


def faults(given: argparse.Namespace) -> Faults:
    """What is wrong with the network."""

    def uuid(number: int) -> str:
        return hardware.build(given.seed, number - 1).uuid

    return Faults(
        cut={frozenset(map(uuid, numbers)) for numbers in given.cut},
        nat={uuid(number): endpoint for number, endpoint in given.nat},
        clock={uuid(number): seconds for number, seconds in given.clock},
    )


def with_transport(url: str, transport: str) -> str:
    """The URL asking for a tunnel, or not."""
    parts = urlsplit(url if "://" in url else f"grpc://{url}")
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "grpc_tunnel"]
    if transport == "grpc":
        query.append(("grpc_tunnel", "true"))
    return urlunsplit(parts._replace(query=urlencode(sorted(query))))


async def run(options: FleetOptions, mesh: Mesh | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Fleet(options, mesh=mesh) as fleet:
        waiting = {asyncio.create_task(stop.wait()), asyncio.create_task(fleet.wait())}
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()


def main(mesh: Mesh | None = None) -> None:
    """`mesh` is who knows discovery services and KubeSpan."""
    given = arguments()
    logging.basicConfig(
        level=logging.DEBUG if given.verbose else logging.INFO, format="%(asctime)s %(name)s: %(message)s"
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):
        wanted = 256 + given.machines * FILES_PER_MACHINE
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))
    version = given.talos_version if given.talos_version.startswith("v") else f"v{given.talos_version}"
    asyncio.run(
        run(
            FleetOptions(
                machines=given.machines,
                api=with_transport(given.api, given.transport) if given.api else None,
                image=Image(version, given.schematic),
                seed=given.seed,
                listen_base=given.listen_base,
                state=given.state,
                timings=Timings().scaled(given.slowness),
                trusted_roots=given.ca.read_bytes() if given.ca else None,
                factory=given.factory,
                faults=faults(given),
            ),
            mesh,
        )
    )


if __name__ == "__main__":
    main()
