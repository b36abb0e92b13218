"""The command line: arguments, the log, exit statuses.

0 is success, 1 a failure while running, 2 a configuration or command line that cannot be
used. Imports stand in the commands, so that none pays for what another needs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay import __version__

if TYPE_CHECKING:
    from relay.config import ListenAddress, Settings

OK: Final = 0
FAILED: Final = 1
UNUSABLE: Final = 2

AGENTS: Final = ("claude-code", "codex", "anthropic", "openai")
FORMATS: Final = ("dotenv", "shell", "compose", "docker", "settings", "toml")

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    command: Command = options.run
    try:
        return command(options)
    except BrokenPipeError:
        # Whoever read our output has had enough (`relay check | head -1`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relay",
        description="Puts the real credential into an agent's LLM calls, and measures them.",
    )
    parser.add_argument("--version", action="version", version=f"relay {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str, *, config: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if config:
            command.add_argument("--config", metavar="FILE", help="the agent.yaml to use")
        return command

    add("serve", _serve, "Serve until SIGTERM; SIGHUP reloads the configuration.")
    add("check", _check, "Validate the configuration and show what would be served.")
    env = add("env", _env, "Print what an agent needs to call through the relay.")
    env.add_argument(
        "agent",
        nargs="?",
        choices=AGENTS,
        help="whom it is for; anthropic and openai are the SDKs; by default all that could call",
    )
    env.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="dotenv for compose's env_file, docker for docker run --env-file; settings is Claude "
        "Code's settings.json, toml is Codex's config.toml",
    )
    env.add_argument("--relay", metavar="NAME", help="through which relay, where several would do")
    env.add_argument("--host", help="host, or host:port, by which the agent reaches the relay")
    env.add_argument("--client", help="whose token to print; by default the first client's")
    token = add("token", _token, "Print a fresh random client token.", config=False)
    token.add_argument(
        "--to", metavar="FILE", type=Path, help="write it there instead, unless one is there"
    )
    health = add("health", _health, "Ask a running relay whether it serves; exit status 1 if not.")
    health.add_argument("--ready", action="store_true", help="ask whether it is ready, too")
    doctor = add("doctor", _doctor, "Say what is wrong, and what to do about it.")
    doctor.add_argument(
        "--stream",
        action="store_true",
        help="also check that answers stream: each relay makes a call of up to 100 tokens",
    )
    doctor.add_argument("--model", help="the model for that; by default a cheap one")
    doctor.add_argument("--json", action="store_true", help="print the findings for scripts")
    doctor.add_argument(
        "--from-agent",
        metavar="URL",
        help="instead, in an agent's container: see what is reached from there; URL is the relay's",
    )
    top = add("top", _top, "Show what a running relay is doing, live.")
    top.add_argument("--once", action="store_true", help="print it once")
    top.add_argument("--json", action="store_true", help="print the figures once, for scripts")
    top.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks"
    )
    return parser


def _load(options: argparse.Namespace) -> Settings | None:
    """Return the configuration, or None after saying what is wrong with it."""
    from relay.config import ConfigurationError, find_file, load  # noqa: PLC0415  # see above

    try:
        return load(find_file(options.config, os.environ))
    except ConfigurationError as error:
        for line in error.explain():
            _complain(line)
        count = len(error.problems)
        _complain(f"{count} mistake{'s' if count > 1 else ''} in the configuration")
        return None


def _complain(text: str) -> None:
    sys.stderr.write(f"relay: {text}\n")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _serve(options: argparse.Namespace) -> int:
    # What is imported stays: collecting in between only costs time, and so would looking
    # through it at every later collection.
    gc.disable()
    settings = _load(options)
    if settings is None:
        return UNUSABLE
    import uvloop  # noqa: PLC0415  # see above

    from relay import logs  # noqa: PLC0415  # see above
    from relay.app import App  # noqa: PLC0415  # see above

    logs.set_up(os.environ.get("RELAY_LOG"))

    async def serve() -> None:
        app = App(settings)
        gc.freeze()
        gc.enable()
        await app.run()

    try:
        uvloop.run(serve())
    except OSError as error:
        _complain(f"cannot listen: {(error.strerror or str(error)).lower()}")
        return FAILED
    return OK


def _check(options: argparse.Namespace) -> int:
    settings = _load(options)
    if settings is None:
        return UNUSABLE
    from relay.commands import describe  # noqa: PLC0415  # see above

    for line in asyncio.run(describe(settings)):
        _print(line)
    return OK


def _env(options: argparse.Namespace) -> int:
    from relay.commands import CommandError  # noqa: PLC0415  # see above
    from relay.environment import Wish, agent_environment, ambiguities  # noqa: PLC0415  # see above
    from relay.notations import NOTATIONS, OWN_FILE  # noqa: PLC0415  # see above

    agent = options.agent or OWN_FILE.get(options.format)
    if OWN_FILE.get(options.format, agent) != agent:
        _complain(f"{options.format} is the file of {OWN_FILE[options.format]} alone")
        return UNUSABLE
    settings = _load(options)
    if settings is None:
        return UNUSABLE
    wish = Wish(agent, options.host, options.client, options.relay)
    try:
        environment = asyncio.run(agent_environment(settings, wish))
    except CommandError as error:
        _complain(str(error))
        return FAILED
    for remark in ambiguities(settings, wish):
        _complain(remark)
    for line in NOTATIONS[options.format](environment):
        _print(line)
    return OK


def _token(options: argparse.Namespace) -> int:
    from relay.commands import CommandError, fresh_token, write_token  # noqa: PLC0415  # see above

    if options.to is None:
        _print(fresh_token())
        return OK
    try:
        written = write_token(options.to)
    except CommandError as error:
        _complain(str(error))
        return FAILED
    _print(f"{options.to}: {'a fresh token' if written else 'there is a token already'}")
    return OK


def _admin_address(options: argparse.Namespace) -> ListenAddress:
    """Return where the admin pages are, as the configuration says if it can be read."""
    from relay import commands  # noqa: PLC0415  # see above
    from relay.config import ConfigurationError, find_file  # noqa: PLC0415  # see above

    try:
        configured = commands.configured_admin(find_file(options.config, os.environ))
    except ConfigurationError:
        configured = None
    return commands.interface_host(commands.admin_address(configured, os.environ))


def _health(options: argparse.Namespace) -> int:
    from relay import commands  # noqa: PLC0415  # see above

    try:
        page = "/readyz" if options.ready else "/healthz"
        status, text = commands.ask(_admin_address(options), page)
    except (commands.CommandError, ValueError) as error:
        _complain(str(error))
        return FAILED
    _print(text.rstrip())
    return OK if status == 200 else FAILED


def _doctor(options: argparse.Namespace) -> int:
    import shutil  # noqa: PLC0415  # see above

    from relay import doctor  # noqa: PLC0415  # see above

    if options.from_agent is not None:
        try:
            examined = doctor.diagnose_from_agent(
                options.from_agent, os.environ, sys.stdout, as_json=options.json
            )
            return asyncio.run(examined)
        except doctor.BadAddress as error:
            _complain(str(error))
            return UNUSABLE
    settings = _load(options)
    if settings is None:
        return UNUSABLE
    stream = doctor.StreamOptions(wanted=options.stream, model=options.model)
    system = doctor.System(docker=shutil.which("docker"))
    return asyncio.run(doctor.diagnose(settings, system, stream, sys.stdout, as_json=options.json))


def _top(options: argparse.Namespace) -> int:
    from relay.commands import CommandError  # noqa: PLC0415  # see above
    from relay.top import run  # noqa: PLC0415  # see above

    try:
        address = _admin_address(options)
    except (CommandError, ValueError) as error:
        _complain(str(error))
        return FAILED
    return run(
        address,
        once=options.once,
        as_json=options.json,
        interval=options.interval,
        out=sys.stdout,
    )
