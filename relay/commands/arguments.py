"""The commands with their arguments and help; what they do is in ``cli``.

Choices are written out here once more, because `relay help` must not import the modules that define
them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relay import DOCS, __version__
from relay.commands.parser import Parser

AGENTS: Final = ("claude-code", "codex", "opencode", "anthropic", "openai")
CREDENTIALS: Final = ("anthropic", "claude", "subscription", "openai")
REPORTS: Final = (
    *("today", "daily", "weekly", "monthly"),
    *("sessions", "models", "clients", "agents"),
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FORMATS: Final = ("dotenv", "shell", "fish", "compose", "docker", "settings", "toml")
VERSION: Final = f"relay {__version__}"
EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "serve": ("relay serve", "relay serve --config agent.yaml"),
    "init": ("relay init", "relay init --yes --for host --credential anthropic"),
    "check": ("relay check", "relay check agent.yaml"),
    "env": ("relay env claude-code", 'eval "$(relay env --format shell)"'),
    "run": (
        "relay run -- claude",
        "relay run --serve -- claude",
        "relay run --for codex -- ./my-codex exec hello",
    ),
    "token": ("relay token", "relay token --to relay_token"),
    "health": ("relay health", "relay health --ready"),
    "doctor": ("relay doctor", "relay doctor --stream", "relay doctor --report"),
    "top": ("relay top", "relay top --once"),
    "usage": ("relay usage", "relay usage daily --since 7d", "relay usage models --json"),
    "version": ("relay version",),
    "help": ("relay help env",),
}
"""What stands at the end of each command's help."""


def _epilog(name: str) -> str:
    examples = "".join(f"  {each}\n" for each in EXAMPLES[name])
    return f"examples:\n{examples}\ndocs: {DOCS}/commands.md#relay-{name}"


def parser() -> argparse.ArgumentParser:
    """Return the parser; the command's name is in ``command``, None where there is none."""
    top_level = Parser(
        prog="relay",
        description="Puts the real credential into an agent's LLM calls, and measures them.",
        epilog=f"relay help COMMAND says more of one.\n\ndocs: {DOCS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top_level.add_argument("--version", action="version", version=VERSION)
    commands = top_level.add_subparsers(dest="command", title="commands", metavar="COMMAND")

    def add(name: str, text: str, *, config: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=_epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if config:
            command.add_argument("--config", metavar="FILE", help="the agent.yaml to use")
        return command

    add("serve", "Serve until SIGTERM; SIGHUP reloads the configuration.")
    _add_init(add("init", "Write a configuration for the case at hand.", config=False))
    check = add("check", "Validate the configuration and show what would be served.")
    check.add_argument("file", nargs="?", metavar="FILE", help="the same as --config FILE")
    env = add("env", "Print what an agent needs to call through the relay.")
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
        "Code's settings.json, toml is Codex's config.toml; on an error, what no reader takes",
    )
    env.add_argument("--relay", metavar="NAME", help="through which relay, where several would do")
    env.add_argument("--host", help="host, or host:port, by which the agent reaches the relay")
    env.add_argument("--client", help="whose token to print; by default the first client's")
    _add_discovery(env)
    _add_run(add("run", "Start an agent whose calls go through the relay, or nothing."))
    _add_token(add("token", "Print a fresh random client token.", config=False))
    health = add("health", "Ask a running relay whether it serves; exit status 1 if not.")
    health.add_argument("--ready", action="store_true", help="ask whether it is ready, too")
    doctor = add("doctor", "Say what is wrong, and what to do about it.")
    doctor.add_argument(
        "--stream",
        action="store_true",
        help="also check that answers stream: each relay makes a call of up to 100 tokens",
    )
    doctor.add_argument(
        "--model", help="the model for that, and for trying hops; by default a cheap one"
    )
    doctor.add_argument("--json", action="store_true", help="print the findings for scripts")
    doctor.add_argument(
        "--from-agent",
        metavar="URL",
        help="instead, in an agent's container: see what is reached from there; URL is the relay's",
    )
    doctor.add_argument(
        "--report",
        nargs="?",
        const=".",
        choices=(".", "-"),
        metavar="-",
        help="instead, write all there is to know, without secrets, into one file in this folder, "
        "to attach to a report; --report=- prints it",
    )
    top = add("top", "Show what a running relay is doing, live.")
    top.add_argument("--once", action="store_true", help="print it once")
    top.add_argument("--json", action="store_true", help="print the figures once, for scripts")
    top.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks"
    )
    _add_usage(add("usage", "Show what calls used and cost, as the ledger has it."))
    add("version", "Print the version.", config=False)
    told = add("help", "Print the help, or a command's.", config=False)
    told.add_argument(
        "about", nargs="?", choices=tuple(commands.choices), metavar="COMMAND", help="of which"
    )
    return top_level


def _add_token(token: argparse.ArgumentParser) -> None:
    token.set_defaults(config=None)
    where = token.add_mutually_exclusive_group()
    where.add_argument(
        "--to", metavar="FILE", type=Path, help="write it there instead, unless one is there"
    )
    where.add_argument(
        "--client",
        metavar="NAME",
        help="instead, write it as that client's into a folder of clients, and print the path",
    )
    token.add_argument(
        "--for",
        dest="lasts",
        type=_seconds,
        metavar="8h",
        help="how long that client may call: seconds, or with s, m, h or d; by default for ever",
    )
    token.add_argument(
        "--folder", type=Path, help="which folder; by default the one that agent.yaml names"
    )


def _seconds(text: str) -> float:
    number, unit = (text[:-1], text[-1:]) if text[-1:].isalpha() else (text, "s")
    if not number.isascii() or not number.isdecimal() or unit not in _UNITS or not int(number):
        raise argparse.ArgumentTypeError("must be a time such as 90s, 30m, 8h or 7d")
    return int(number) * _UNITS[unit]


def _add_discovery(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--discover-models",
        action="store_true",
        help="have Claude Code ask the API for its models, and list them in /model",
    )


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "program",
        nargs="*",
        metavar="-- PROGRAM",
        help="claude, codex or opencode, with its own arguments",
    )
    run.add_argument(
        "--for",
        dest="agent",
        choices=("claude", *AGENTS),
        help="which agent it is, where the program's name does not say it",
    )
    run.add_argument("--relay", metavar="NAME", help="through which relay, where several would do")
    run.add_argument("--client", help="as whom; by default as the first client")
    _add_discovery(run)
    run.add_argument(
        "--serve",
        action="store_true",
        help="serve in the same process while the agent runs, on ports of its own",
    )


def _add_usage(usage: argparse.ArgumentParser) -> None:
    usage.add_argument(
        "report", nargs="?", choices=REPORTS, default=REPORTS[0], help="by what; by default today"
    )
    usage.add_argument(
        "--since", metavar="7d", help="from midnight so many days ago, or from a day (2026-11-30)"
    )
    usage.add_argument("--client", metavar="NAME", help="the calls of that client alone")
    usage.add_argument(
        "--ledger", metavar="FILE", type=Path, help="that file, and not the configuration's"
    )
    what = usage.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="print it for scripts")
    what.add_argument("--csv", action="store_true", help="the same for tables, without the total")
    what.add_argument(
        "--export", metavar="FILE", type=Path, help="instead, write one whole copy of the ledger"
    )
    what.add_argument(
        "--forget",
        metavar="WHOM",
        help="instead, delete all calls of session:ID or client:NAME from the ledger",
    )


def _add_init(init: argparse.ArgumentParser) -> None:
    init.add_argument("--yes", action="store_true", help="ask nothing; take what is proposed")
    init.add_argument(
        "--for",
        dest="case",
        choices=("compose", "host"),
        help="the relay in Docker, beside compose.yaml, or on this host",
    )
    init.add_argument(
        "--credential",
        action="append",
        choices=CREDENTIALS,
        help="what the relay holds: an API key (anthropic, openai), a token of claude setup-token "
        "(claude), or Claude Code's own login on this host (subscription); may be repeated",
    )
    init.add_argument("--upstream", metavar="URL", help="where calls go; by default Headroom's")
    init.add_argument(
        "--chain",
        action=argparse.BooleanOptionalAction,
        help="have Headroom send on to the relay, so that it never sees the credential",
    )
    init.add_argument(
        "--bridge",
        action=argparse.BooleanOptionalAction,
        help="listen on docker0 too, for agents in ordinary containers",
    )
    init.add_argument(
        "--store",
        action=argparse.BooleanOptionalAction,
        help="copy the credential from its variable into the folder secrets",
    )
    init.add_argument(
        "--egress",
        metavar="URL",
        help="the proxy on the way to the API, or none; by default what $HTTPS_PROXY says",
    )
    init.add_argument("--port", type=_port, help="the relay's; by default 8484")
    init.add_argument("--admin-port", type=_port, help="its admin pages'; by default 9484")
    init.add_argument(
        "--folder", type=Path, default=Path(), help="where to write; by default this one"
    )
    init.add_argument("--force", action="store_true", help="replace what is there")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("must be a port, from 1 to 65535")
    return int(text)
