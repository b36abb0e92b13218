"""`python -m headroom`: the stand-in as a process, until it is told to stop."""

import argparse
import asyncio
import os
import signal
from pathlib import Path
from urllib.parse import parse_qsl

from .modes import MODES
from .record import Exchange
from .server import running_headroom
from .settings import Settings


async def serve(settings: Settings, host: str, port: int, *, name: str, tells: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with running_headroom(settings, host, port) as headroom:
        # For whoever waits for it.
        print(f"stand-in for {name} listening on {headroom.url}", flush=True)  # noqa: T201
        if tells:
            headroom.record.on_arrival = tell
        await told_to_stop.wait()


def tell(exchange: Exchange) -> None:
    """Print what has come, with the beginning of the credential."""
    shown = exchange.header("x-api-key") or exchange.header("authorization") or "none"
    print(f"{exchange.method} {exchange.target} with {shown[:24]}...", flush=True)  # noqa: T201


def proxy_token() -> str | None:
    """Return Headroom's own token, from its variable or from the file that compose.yaml names."""
    if file := os.environ.get("HEADROOM_PROXY_TOKEN_FILE"):
        return Path(file).read_text(encoding="ascii").strip()
    return os.environ.get("HEADROOM_PROXY_TOKEN")


def parse_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the arguments and Headroom's own variables make."""
    return Settings(
        default_mode=arguments.mode,
        default_arguments=dict(parse_qsl(arguments.args, keep_blank_values=True)),
        allowed_base_urls=os.environ.get("HEADROOM_ALLOWED_BASE_URLS"),
        proxy_token=proxy_token(),
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
    add("--name", default="Headroom", help="what it says that it stands in for")
    add("--tell", action="store_true", help="print a line for each request")
    arguments = parser.parse_args()
    settings = parse_settings(arguments)
    name, tells = arguments.name, arguments.tell
    asyncio.run(serve(settings, arguments.host, arguments.port, name=name, tells=tells))


if __name__ == "__main__":
    main()
