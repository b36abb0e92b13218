"""The command line: what each command does with its arguments, what it prints, exit statuses.

0 is success, 1 a failure while running, 2 a configuration or command line that cannot be used. Each
function imports what its command needs, so that no command pays for another's imports.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay.commands import BadArguments, CommandError
from relay.commands.arguments import VERSION, parser

if TYPE_CHECKING:
    from relay.commands.doctor import System
    from relay.config import ConfigurationError, Settings

OK: Final = 0
FAILED: Final = 1
UNUSABLE: Final = 2

# Objects. The relay makes next to no cycles; Python's own 700 are a few calls that wait to be
# written, and looking through them anew each time took 3 % of a call.
_COLLECT_AFTER: Final = 10_000

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    program: Sequence[str] = ()
    if arguments[:1] == ["run"] and "--" in arguments:
        cut = arguments.index("--")
        arguments, program = arguments[:cut], arguments[cut + 1 :]
    try:
        options = parser().parse_args(arguments or ["help"])
        options.program = [*getattr(options, "program", ()), *program]
    except SystemExit as end:
        if end.code == UNUSABLE and arguments[0] == "env":
            _print(_failure_of(arguments))
        raise
    try:
        return COMMANDS[options.command](options)
    except BrokenPipeError:
        # The reader of our output has closed it (`relay check | head -1`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except CommandError as error:
        _complain(str(error))
        return UNUSABLE if isinstance(error, BadArguments) else FAILED
    except Exception as error:
        from relay.config import ConfigurationError

        if not isinstance(error, ConfigurationError):
            raise
        _explain(error)
        return UNUSABLE


def _load(options: argparse.Namespace) -> Settings:
    from relay.config import find_file, load

    return load(find_file(options.config, os.environ))


def _load_to_serve(options: argparse.Namespace) -> Settings:
    """Return the configuration to serve by: as `_load`, if the ledger's folder is there too."""
    from relay.config.ledger import require_ledger_folder

    settings = _load(options)
    require_ledger_folder(settings)
    return settings


def _explain(error: ConfigurationError) -> None:
    from relay.config.problems import NoConfiguration

    for line in error.explain():
        _complain(line)
    if isinstance(error, NoConfiguration):
        return
    count = len(error.problems)
    _complain(f"{count} mistake{'s' if count > 1 else ''} in the configuration")


def _complain(text: str) -> None:
    sys.stderr.write(f"relay: {text}\n")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _serve(options: argparse.Namespace) -> int:
    # Imported objects are never freed: no collection until all are there (`_keep_what_is_loaded`),
    # and then they are frozen, so that no later collection visits them.
    gc.disable()
    settings = _load_to_serve(options)
    import uvloop

    from relay.app import App
    from relay.downstream.listener import CannotListen
    from relay.telemetry import access_log

    access_log.set_up(os.environ.get("RELAY_LOG"))

    async def serve() -> None:
        await App(settings).run(on_loaded=_keep_what_is_loaded)

    try:
        uvloop.run(serve())
    except CannotListen as error:
        _complain(str(error))
        return FAILED
    return OK


def _keep_what_is_loaded() -> None:
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    gc.enable()


def _init(options: argparse.Namespace) -> int:
    from relay.commands import init

    flags = init.Flags(
        case=options.case,
        credentials=tuple(dict.fromkeys(options.credential or ())),
        upstream=options.upstream,
        chain=options.chain,
        bridge=options.bridge,
        store=options.store,
        egress=options.egress,
        port=options.port,
        admin_port=options.admin_port,
    )
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not options.yes
    if not (on_terminal or options.yes):
        raise BadArguments(
            "nothing was written: there is no terminal to ask on; --yes takes what is proposed"
        )
    try:
        work = init.Setup(
            options.folder, flags, os.environ, init.Console() if on_terminal else None
        )
        for line in chain(work.found(), work.write(force=options.force)):
            _print(line)
        for line in asyncio.run(work.check()):
            _print(line)
    except (EOFError, KeyboardInterrupt):
        raise CommandError("nothing was written") from None
    for number, line in enumerate(work.next_steps()):
        _print(f"{'' if number else 'next':<9} {line}")
    return OK


def _check(options: argparse.Namespace) -> int:
    options.config = options.file or options.config
    settings = _load(options)
    from relay.commands.check import describe

    for line in asyncio.run(describe(settings)):
        _print(line)
    return OK


def _failure_of(arguments: Sequence[str]) -> str:
    """Return what `relay env` prints where the command line cannot be used."""
    from relay.commands.env_formats import NOTATIONS, failure

    words = {word.removeprefix("--format=") for word in arguments}
    return failure(next((name for name in NOTATIONS if name in words), ""))


def _env(options: argparse.Namespace) -> int:
    from relay.commands.env_formats import failure

    status = FAILED
    try:
        status = _print_environment(options)
    finally:
        # An agent that is started without these variables would call the real API.
        if status != OK:
            _print(failure(options.format))
    return status


def _print_environment(options: argparse.Namespace) -> int:
    from relay.commands.agents import OWN_FILE
    from relay.commands.env import AgentChoice, agent_environment, ambiguities
    from relay.commands.env_formats import NOTATIONS, SHELLS

    agent = options.agent or OWN_FILE.get(options.format)
    if OWN_FILE.get(options.format, agent) != agent:
        raise BadArguments(f"{options.format} is the file of {OWN_FILE[options.format]} alone")
    settings = _load(options)
    choice = AgentChoice(
        agent, options.host, options.client, options.relay, options.discover_models
    )
    environment = asyncio.run(agent_environment(settings, choice))
    notes = environment.notes if options.format in SHELLS else ()
    for remark in (*ambiguities(settings, choice), *notes):
        _complain(remark)
    for line in NOTATIONS[options.format](environment):
        _print(line)
    return OK


def _run(options: argparse.Namespace) -> int:
    from relay.commands import run
    from relay.commands.env import AgentChoice, ambiguities

    settings = _load_to_serve(options) if options.serve else _load(options)
    try:
        agent = run.agent_of(options.program, options.agent)
        choice = AgentChoice(agent, None, options.client, options.relay, options.discover_models)
        if options.serve:
            import uvloop

            from relay.commands.run_serve import serve_and_run

            return uvloop.run(serve_and_run(settings, choice, options.program, os.environ))
        start = asyncio.run(run.prepare(settings, choice, options.program, os.environ))
    except CommandError as error:
        raise BadArguments(f"{error}; nothing was started") from error
    for remark in (*ambiguities(settings, choice), *start.warnings):
        _complain(remark)
    return run.run(start)


def _token(options: argparse.Namespace) -> int:
    from relay.commands.token import fresh_token, write_client, write_token

    if options.client is not None:
        _print(str(write_client(_client_folder(options), options.client, options.lasts)))
    elif options.lasts is not None or options.folder is not None:
        raise BadArguments("--for and --folder go with --client")
    elif options.to is None:
        _print(fresh_token())
    else:
        written = write_token(options.to)
        _print(f"{options.to}: {'a fresh token' if written else 'there is a token already'}")
    return OK


def _client_folder(options: argparse.Namespace) -> Path:
    """Return the folder of clients that is meant."""
    if options.folder is not None:
        return Path(options.folder)
    folders = _load(options).folders
    if len(folders) != 1:
        named = f"{len(folders)} folders" if folders else "no folder"
        raise BadArguments(f"agent.yaml names {named} of clients; say --folder DIR")
    return Path(folders[0].folder)


def _health(options: argparse.Namespace) -> int:
    from relay.commands.admin_address import admin_address
    from relay.commands.health import ask

    page = "/readyz" if options.ready else "/healthz"
    status, text = ask(admin_address(options.config, os.environ), page)
    _print(text.rstrip())
    return OK if status == 200 else FAILED


def _doctor(options: argparse.Namespace) -> int:
    import shutil

    from relay.commands import doctor

    if options.from_agent is not None:
        examined = doctor.diagnose_from_agent(
            options.from_agent, os.environ, sys.stdout, as_json=options.json
        )
        return asyncio.run(examined)
    system = doctor.System(docker=shutil.which("docker"), environment=os.environ)
    if options.report is not None:
        return _report(options, system)
    stream = doctor.StreamOptions(wanted=options.stream, model=options.model)
    examined = doctor.diagnose(_load(options), system, stream, sys.stdout, as_json=options.json)
    return asyncio.run(examined)


def _report(options: argparse.Namespace, system: System) -> int:
    """Write a report; it is made of a configuration with mistakes as well."""
    from relay.commands import report
    from relay.commands.admin_address import admin_address
    from relay.config import ConfigurationError, find_file, load

    file: Path | None = None
    loaded: Settings | ConfigurationError
    try:
        file = find_file(options.config, os.environ)
        loaded = load(file)
    except ConfigurationError as error:
        loaded = error
    admin = admin_address(options.config, os.environ)
    text = asyncio.run(report.compose(file, loaded, system, admin))
    if options.report == "-":
        _print(text.rstrip())
    else:
        _print(str(report.write(text, Path())))
        _complain("look it through before you hand it to anybody")
    return OK


def _top(options: argparse.Namespace) -> int:
    from relay.commands.admin_address import admin_address
    from relay.commands.top import run

    return run(
        admin_address(options.config, os.environ),
        once=options.once,
        as_json=options.json,
        interval=options.interval,
        out=sys.stdout,
    )


def _usage(options: argparse.Namespace) -> int:
    from relay.commands import usage

    settings = _load(options) if options.ledger is None else None
    ledger = usage.ledger_of(options.ledger, settings, os.environ)
    usage.run(ledger, usage.action_of(options), sys.stdout)
    return OK


def _version(_: argparse.Namespace) -> int:
    _print(VERSION)
    return OK


def _help(options: argparse.Namespace) -> int:
    with contextlib.suppress(SystemExit):
        parser().parse_args([*filter(None, [options.about]), "--help"])
    return OK


COMMANDS: Final[Mapping[str, Command]] = {
    "serve": _serve,
    "init": _init,
    "check": _check,
    "doctor": _doctor,
    "env": _env,
    "run": _run,
    "token": _token,
    "health": _health,
    "top": _top,
    "usage": _usage,
    "version": _version,
    "help": _help,
}
