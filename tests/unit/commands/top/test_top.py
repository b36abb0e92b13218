"""`relay top`: once, live, and where nothing or something else answers."""

import io
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn

import pytest

from relay.commands import CommandError, top
from relay.commands.client import BlockingClient
from relay.commands.top.terminal import Terminal
from relay.config import ListenAddress
from tests.unit.commands.top.pages import BUSY, HOSTILE, NOW, page, running

ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


class Server:
    """A small HTTP server on loopback with one page, which can go away and come back."""

    def __init__(self) -> None:
        """Listen, on a port of its own."""
        self.status = 200
        self.body = page().encode()
        self.asked: list[str] = []
        self.protocol = "HTTP/1.0"
        self.connections = 0
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def address(self) -> ListenAddress:
        """Where it is, or was."""
        return ListenAddress("127.0.0.1", self.port)

    def start(self) -> None:
        """Listen, where it listened before if it did."""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                page.connections += 1
                self.protocol_version = page.protocol
                super().setup()

            def do_GET(self) -> None:  # the name is the library's
                page.asked.append(self.path)
                self.send_response(page.status)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


@contextmanager
def _running_server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server that answers with an empty page."""
    with _running_server() as running_server:
        yield running_server


class Screen(io.StringIO):
    """An output that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True

    def take(self) -> str:
        """Return what was written since the last time."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def run(server: Server, out: io.StringIO, *, once: bool = False, as_json: bool = False) -> int:
    """Run the command against a server."""
    return top.run(server.address, once=once, as_json=as_json, interval=1.0, out=out)


def script(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], None]) -> list[float]:
    """Take a step instead of each wait, then Ctrl-C; return the list of waits."""
    waits: list[float] = []
    rest = iter(steps)

    def wait(_: object, seconds: float) -> None:
        waits.append(seconds)
        step = next(rest, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(Terminal, "wait", wait)
    return waits


class TestOnce:
    """One picture, or one JSON object."""

    def test_prints_once(self, server: Server) -> None:
        """A pipe gets plain text, asked for or not, and one page is asked for."""
        server.body = BUSY.encode()
        for once in (True, False):
            out = io.StringIO()
            assert run(server, out, once=once) == 0
            assert "3 calls in flight" in out.getvalue()
            assert "\x1b" not in out.getvalue()
        assert server.asked == ["/calls", "/calls"]

    @pytest.mark.slow  # draws all of them
    def test_a_crowd(self, server: Server) -> None:
        """Ten thousand calls make a page of two megabytes."""
        server.body = page(in_flight=[running(1, model="claude")] * 10_000).encode()
        assert len(server.body) > 1_000_000
        out = io.StringIO()
        assert run(server, out, once=True) == 0
        assert "10000 calls in flight" in out.getvalue()

    def test_prints_once_on_a_terminal(self, server: Server) -> None:
        """The screen is left alone; there may be colours."""
        out = Screen()
        assert run(server, out, once=True) == 0
        assert "0 calls in flight" in out.getvalue()
        assert ENTER_SCREEN not in out.getvalue()

    def test_prints_once_on_a_terminal_that_cannot(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A terminal without cursor movement is like a pipe."""
        monkeypatch.setenv("TERM", "dumb")
        out = Screen()
        assert run(server, out) == 0
        assert "\x1b" not in out.getvalue()

    @pytest.mark.parametrize("terminal", [True, False])
    def test_json(self, server: Server, *, terminal: bool) -> None:
        """A script gets one object, on whatever; nothing in it acts on a terminal."""
        server.body = page(in_flight=[running(1, path=HOSTILE + "\x7f")]).encode()
        out = Screen() if terminal else io.StringIO()
        assert run(server, out, as_json=True) == 0
        assert all(letter.isprintable() or letter == "\n" for letter in out.getvalue())
        assert out.getvalue().isascii()
        assert json.loads(out.getvalue())["in_flight"][0]["path"] == HOSTILE + "\x7f"

    def test_a_relay_without_a_clock(self, server: Server) -> None:
        """Our own time serves where the page has none."""
        server.body = b"{}"
        out = io.StringIO()
        assert run(server, out, as_json=True) == 0
        assert json.loads(out.getvalue())["time"] > NOW - 1e9

    def test_an_output_that_has_no_such_letters(self, server: Server) -> None:
        """Bars become question marks rather than a failure."""
        server.body = BUSY.encode()
        written = io.BytesIO()
        out = io.TextIOWrapper(written, encoding="ascii")
        assert top.run(server.address, once=True, as_json=False, interval=1.0, out=out) == 0
        assert b"58 %" in written.getvalue()

    def test_interrupted(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who asked for one picture and stopped waiting has not got it."""

        def interrupt(*_: object, **__: object) -> NoReturn:
            raise KeyboardInterrupt

        monkeypatch.setattr(BlockingClient, "ask", interrupt)
        assert run(server, io.StringIO(), once=True) == 1
        assert run(server, Screen()) == 0


class TestUnreachable:
    """No relay, or something else, at the start."""

    @pytest.mark.parametrize("flags", [{}, {"once": True}, {"as_json": True}])
    def test_nobody_answers(self, server: Server, flags: dict[str, bool]) -> None:
        """One plain sentence, and nothing on the output."""
        server.stop()
        out = Screen()
        with pytest.raises(CommandError, match=f"^no relay answers at {server.address}$"):
            run(server, out, **flags)
        assert out.getvalue() == ""

    @pytest.mark.parametrize(
        ("status", "body", "sentence"),
        [
            (404, b"{}", "what answers at {} has no /calls: it said 404"),
            (200, b"<html>", "what answers at {} is no relay's admin listener"),
            (200, b"\xff", "what answers at {} is no relay's admin listener"),
        ],
    )
    def test_something_else_answers(
        self, server: Server, status: int, body: bytes, sentence: str
    ) -> None:
        """The sentence says what is there."""
        server.status, server.body = status, body
        with pytest.raises(CommandError, match=f"^{sentence.format(server.address)}$"):
            run(server, io.StringIO())


class TestLive:
    """The live screen."""

    def test_ctrl_c_ends_well(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """The screen is entered, left again, and the status is 0."""
        waits = script(monkeypatch)
        out = Screen()
        assert run(server, out) == 0
        assert waits == [1.0]
        text = out.getvalue()
        assert text.count(ENTER_SCREEN) == text.count(LEAVE_SCREEN) == 1
        assert text.rindex(LEAVE_SCREEN) > text.index("0 calls in flight")

    def test_one_connection_serves_all_looks(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rather than one each second."""
        server.protocol = "HTTP/1.1"
        script(monkeypatch, lambda: None, lambda: None)
        assert run(server, Screen()) == 0
        assert (server.asked, server.connections) == (["/calls"] * 3, 1)

    def test_lost_and_back(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relay that goes away is said to be lost; when it is back, its figures are."""
        out = Screen()
        seen: list[str] = []

        def go() -> None:
            seen.append(out.take())
            server.stop()

        def stay_away() -> None:
            seen.append(out.take())

        def come_back() -> None:
            seen.append(out.take())
            server.body = page(in_flight=[running(1)]).encode()
            server.start()

        def look() -> None:
            seen.append(out.take())

        script(monkeypatch, go, stay_away, come_back, look)
        assert run(server, out) == 0
        lost = f"No relay answers at {server.address}; trying again."
        assert [lost in text for text in seen] == [False, True, True, False]
        assert ["0 calls in flight" in text for text in seen] == [True, True, True, False]
        assert "1 call in flight" in seen[-1]

    @pytest.mark.parametrize(
        ("interval", "pause"), [(0.0, 0.1), (-3.0, 0.1), (float("nan"), 0.1), (1e9, 3600.0)]
    )
    def test_intervals_have_limits(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, interval: float, pause: float
    ) -> None:
        """No interval keeps the relay busy, or is none at all."""
        waits = script(monkeypatch)
        top.run(server.address, once=False, as_json=False, interval=interval, out=Screen())
        assert waits == [pause]

    def test_terminated(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """SIGTERM leaves the terminal as it was, and the signal's handler too."""
        before = signal.getsignal(signal.SIGTERM)
        script(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
        out = Screen()
        with pytest.raises(SystemExit) as left:
            run(server, out)
        assert left.value.code == 128 + signal.SIGTERM
        assert LEAVE_SCREEN in out.getvalue()
        assert signal.getsignal(signal.SIGTERM) is before
