"""Run all peers: `tests/peers/run` builds them and comes here."""

import asyncio
import sys

from tests.peers import configs, discovery, kubelogin, kubernetes, machine, siderolink, signing, talosproxy
from tests.peers.report import Report

SUITES = {
    "configs": configs.run,
    "siderolink": siderolink.run,
    "machine": machine.run,
    "signing": signing.run,
    "talosproxy": talosproxy.run,
    "kubernetes": kubernetes.run,
    "kubelogin": kubelogin.run,
    "discovery": discovery.run,
}


async def main() -> int:
    report = Report()
    for name, suite in SUITES.items():
        try:
            await suite(report)
        except Exception as error:
            report.add(name, f"{type(error).__name__}: {error}")
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
