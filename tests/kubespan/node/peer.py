"""The daemon as its program starts it, looking at its peers once a second.

At SIGUSR1 it takes silence of some seconds for one of some minutes.
"""

import asyncio
import signal

from kubespan.node.__main__ import build, run
from kubespan.node.status import Timing


async def main() -> None:
    daemon = build()
    daemon.timing = Timing(between=1.0)
    impatient = Timing(between=1.0, connect=6.0, down=6.0)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: setattr(daemon, "timing", impatient))
    await run(daemon)


if __name__ == "__main__":
    asyncio.run(main())
