"""`python -m headroom`: the stand-in as a process, until it is told to stop."""

import argparse
import asyncio
import signal

from .modes import MODES
from .server import running_headroom


async def serve(host: str, port: int, default_mode: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with running_headroom(host, port, default_mode=default_mode) as headroom:
        # For whoever waits for it.
        print(f"stand-in for Headroom listening on {headroom.url}", flush=True)  # noqa: T201
        await told_to_stop.wait()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="headroom", description="A stand-in for Headroom.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", default=8787, type=int, help="port, 0 for a free one")
    parser.add_argument(
        "--mode", default="ok", choices=sorted(MODES), help="what to play unless asked otherwise"
    )
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.port, arguments.mode))


if __name__ == "__main__":
    main()
