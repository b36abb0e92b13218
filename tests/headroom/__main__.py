"""`python -m headroom`: the stand-in as a process, until it is told to stop."""

import argparse
import asyncio
import os
import signal
from urllib.parse import parse_qsl

from .modes import MODES
from .server import running_headroom
from .settings import Settings


async def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with running_headroom(settings, host, port) as headroom:
        # For whoever waits for it.
        print(f"stand-in for Headroom listening on {headroom.url}", flush=True)  # noqa: T201
        await told_to_stop.wait()


def parse_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the arguments and Headroom's own variables make."""
    return Settings(
        default_mode=arguments.mode,
        default_arguments=dict(parse_qsl(arguments.args, keep_blank_values=True)),
        allowed_base_urls=os.environ.get("HEADROOM_ALLOWED_BASE_URLS"),
        proxy_token=os.environ.get("HEADROOM_PROXY_TOKEN"),
        upstream=arguments.upstream,
        openai_upstream=arguments.openai_upstream,
        compresses=arguments.compress,
        caches=arguments.cache,
    )


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="headroom", description="A stand-in for Headroom.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", default=8787, type=int, help="port, 0 for a free one")
    add("--mode", choices=sorted(MODES), help="what to play unless asked otherwise")
    add("--args", default="", help="arguments of that mode, as a query string")
    target = os.environ.get("ANTHROPIC_TARGET_API_URL")
    add("--upstream", default=target, help="where to send on, instead of answering")
    target = os.environ.get("OPENAI_TARGET_API_URL")
    add("--openai-upstream", default=target, help="where to send on what is OpenAI's")
    add("--compress", action="store_true", help="make prompts shorter")
    add("--cache", action="store_true", help="remember answers that are not streamed")
    arguments = parser.parse_args()
    asyncio.run(serve(parse_settings(arguments), arguments.host, arguments.port))


if __name__ == "__main__":
    main()
