"""``relay top``: what a running relay is doing, live in the terminal, from its admin listener.

It knows the relay by the page ``/calls`` alone: `page` turns that into values, `figures`
computes, `format` and `layout` show. Run against a terminal, it draws until Ctrl-C; with
``--once``, or where the output is no terminal, it prints one picture.

``--json`` prints the figures instead: docs/commands.md says what is in them.
"""

from __future__ import annotations

import errno
import io
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.live import Live

from relay.commands import CommandError
from relay.commands.admin_address import page_url
from relay.commands.client import BlockingClient, NoAnswer
from relay.commands.top.figures import Figures, compute, to_json
from relay.commands.top.layout import View, draw
from relay.commands.top.page import NotThePageError, read_snapshot
from relay.commands.top.terminal import Terminal, was_entered
from relay.config import ListenAddress

__all__ = ["PAGE", "run"]

PAGE: Final = "/calls"
_OK: Final = 0
_FAILED: Final = 1
_SHORTEST_INTERVAL_SECONDS: Final = 0.1
_LONGEST_INTERVAL_SECONDS: Final = 3600.0
# A hundred calls that ended, and those in flight: of these, some ten thousand.
_PAGE_LIMIT_BYTES: Final = 16 * 1024 * 1024


def run(address: ListenAddress, *, once: bool, as_json: bool, interval: float, out: TextIO) -> int:
    """Show what the relay at an admin address is doing; return the exit status.

    ``interval`` is in seconds; Ctrl-C ends the live view with 0.

    Raises:
        CommandError: No relay answered at the start.
        BrokenPipeError: The reader of the output, or the terminal, is gone.
    """
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace")  # a bar that a terminal cannot show is no failure
    console = Console(file=out)
    live = out.isatty() and console.is_interactive and not (once or as_json)
    try:
        with BlockingClient() as client:
            source = _Source(client, address)
            view = View(str(address), source.figures())
            if as_json:
                _print_json(view.figures, out)
            elif live:
                _watch(source, view, interval, console)
            else:
                console.print(draw(view, console, fill=False))
    except KeyboardInterrupt:
        # Interrupted before the one picture that was asked for.
        return _OK if live else _FAILED
    except OSError as error:
        if error.errno != errno.EIO:  # what Linux says of a terminal that was closed
            raise
        raise BrokenPipeError from error
    return _OK


class _Source:
    """The relay that is looked at, by one connection for as long as both keep it."""

    def __init__(self, client: BlockingClient, address: ListenAddress) -> None:
        self._client = client
        self._address = address

    def figures(self) -> Figures:
        """Return the figures of this moment.

        Raises:
            CommandError: There is no relay, or it is one that has no such page.
        """
        at = f"what answers at {self._address}"
        try:
            answer = self._client.ask(page_url(self._address, PAGE), limit=_PAGE_LIMIT_BYTES)
            snapshot = read_snapshot(answer.body.decode()) if answer.status == 200 else None
        except NoAnswer as error:
            raise CommandError(f"no relay answers at {self._address}") from error
        except (NotThePageError, UnicodeDecodeError) as error:
            raise CommandError(f"{at} is no relay's admin listener") from error
        if snapshot is None:
            raise CommandError(f"{at} has no {PAGE}: it said {answer.status}")
        return compute(snapshot, time.time() if snapshot.time is None else snapshot.time)


def _print_json(figures: Figures, out: TextIO) -> None:
    # ASCII JSON escapes every control character but DEL.
    out.write(json.dumps(to_json(figures), indent=2).replace("\x7f", "\\u007f") + "\n")
    out.flush()


def _watch(source: _Source, view: View, interval: float, console: Console) -> None:
    pause = max(_SHORTEST_INTERVAL_SECONDS, min(interval, _LONGEST_INTERVAL_SECONDS))
    with (
        _terminated_cleanly(),
        Terminal(console.file, entered=was_entered()) as terminal,
        Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as screen,
    ):
        while True:
            screen.update(draw(view, console, fill=True), refresh=True)
            terminal.wait(pause)
            view = _next_view(source, view)


def _next_view(source: _Source, view: View) -> View:
    """Return what is to be shown next: fresh figures, or the last ones and what is wrong."""
    try:
        return View(view.address, source.figures())
    except CommandError as error:
        return View(view.address, view.figures, lost=str(error))


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """Have SIGTERM (``timeout 10 relay top``) restore the terminal before the process ends."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
