"""``relay init`` on a terminal: its questions, as a user answers them on a real one."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from relay.cli import FAILED, OK
from relay.commands import BadArguments
from relay.commands.client import BlockingClient
from relay.commands.init import Flags
from relay.commands.init.ask import Console, choose
from relay.commands.init.detect import look_around
from relay.config import load
from tests.harness import FUSE_SECONDS, no_headroom
from tests.harness.secrets import KEY
from tests.integration.test_init import HEADROOM, answering

ROOT = Path(__file__).parents[2]


class Conversation:
    """A process whose terminal a test reads and types on."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._terminal, inner = pty.openpty()
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder.parent)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.harness.no_headroom", "init", *arguments],
            cwd=folder,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=own | environment,
            start_new_session=True,
        )
        os.close(inner)
        self.text = ""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], FUSE_SECONDS)
        assert ready, self.text
        try:
            piece = os.read(self._terminal, 4096)
        except OSError:  # Linux says so where the other end is closed
            piece = b""
        self.text += piece.decode().replace("\r\n", "\n")
        return bool(piece)

    def hears(self, text: str) -> None:
        """Wait for a text, behind the last one that was heard."""
        while (found := self.text.find(text, self._read)) < 0:
            assert self._more(), self.text
        self._read = found + len(text)

    def types(self, text: str) -> None:
        """Type."""
        os.write(self._terminal, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, as the terminal tells of it; again where nothing came of it.

        Python notes a signal between its prompt and its reading only once it has read.
        """
        for _ in range(int(FUSE_SECONDS)):
            self._process.send_signal(signal.SIGINT)
            if select.select([self._terminal], [], [], 1.0)[0]:
                return

    def status(self) -> int:
        """Hear it out, and return the exit status."""
        while self._more():
            pass
        return self._process.wait(FUSE_SECONDS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, on a machine without Headroom."""
    monkeypatch.setattr(BlockingClient, "ask", no_headroom.ask)
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def conversation(folder: Path) -> Iterator[Conversation]:
    """A user with an API key in a variable, whose files go where there is no compose.yaml."""
    with Conversation(folder, "--no-bridge", ANTHROPIC_API_KEY=KEY) as running:
        yield running


def test_every_question_proposes_an_answer(folder: Path, conversation: Conversation) -> None:
    """Taking them all gives what --yes gives."""
    conversation.hears("Run the relay by Docker Compose (compose), or on this host (host)? [host] ")
    conversation.types("\n")
    conversation.hears("anthropic     an API key of Anthropic's: found, $ANTHROPIC_API_KEY\n")
    conversation.hears("Credentials [anthropic] ")
    conversation.types("\n")
    conversation.hears("Where should calls go? [http://localhost:8787] ")
    conversation.types("\n")
    conversation.hears("Keep it in secrets/anthropic_api_key, for you alone to read? [n] ")
    conversation.types("\n")
    conversation.hears("wrote     agent.yaml\n")
    assert conversation.status() == OK
    asked = (folder / "agent.yaml").read_text()
    (folder / "agent.yaml").unlink()
    with Conversation(folder, "--yes", ANTHROPIC_API_KEY=KEY) as unasked:
        assert unasked.status() == OK
    assert "?" not in unasked.text
    assert (folder / "agent.yaml").read_text() == asked
    assert KEY not in conversation.text + unasked.text


def test_answers_decide(folder: Path, conversation: Conversation) -> None:
    """Whatever was proposed; what cannot be used is asked again, with what would be right."""
    conversation.hears("[host] ")
    conversation.types("docker\n")
    conversation.hears("answer compose or host\n")
    conversation.hears("[host] ")
    conversation.types("compose\n")
    conversation.hears("Credentials [anthropic] ")
    conversation.types("anthropic,claude\n")
    conversation.hears("choose one of anthropic, claude and subscription")
    conversation.hears("Credentials [anthropic] ")
    conversation.types("nonsense\n")
    conversation.hears("answer with some of anthropic, claude, subscription, openai\n")
    conversation.hears("Credentials [anthropic] ")
    conversation.types("anthropic, openai\n")
    conversation.hears("Where should calls go?")
    conversation.types("localhost\n")
    conversation.hears("the address must begin with http:// or https://")
    conversation.hears("Where should calls go?")
    conversation.types("http://127.0.0.1:9\n")
    conversation.hears("for you alone to read? [n] ")
    conversation.types("perhaps\n")
    conversation.hears("answer y or n\n")
    conversation.hears("for you alone to read? [n] ")
    conversation.types("Y\n")
    assert conversation.status() == OK
    relays = load(folder / "config/agent.yaml").relays
    assert {each.name: str(each.upstream) for each in relays} == {
        "anthropic": "http://127.0.0.1:9",
        "openai": "http://127.0.0.1:9",
    }
    assert (folder / "secrets/anthropic_api_key").read_text() == f"{KEY}\n"
    assert KEY not in conversation.text


@pytest.mark.parametrize("interrupted", [False, True])
def test_leaving_writes_nothing(
    folder: Path, conversation: Conversation, interrupted: bool
) -> None:
    """By the end of input, and by an interrupt, with what was answered so far forgotten."""
    conversation.hears("[host] ")
    conversation.types("\n")
    conversation.hears("Credentials [anthropic] ")
    if interrupted:
        conversation.interrupt()
    else:
        conversation.types("\x04")
    assert conversation.status() == FAILED
    assert conversation.text.endswith("relay: nothing was written\n")
    assert list(folder.iterdir()) == []


def test_flags_leave_nothing_to_ask(folder: Path) -> None:
    """On a terminal as well; each question has one."""
    flags = ("--for", "host", "--credential", "anthropic", "--upstream", "http://127.0.0.1:9")
    more = ("--no-bridge", "--no-store")
    with Conversation(folder, *flags, *more, ANTHROPIC_API_KEY=KEY) as running:
        assert running.status() == OK
    assert "?" not in running.text
    assert not (folder / "secrets").exists()


class Answers(Console):
    """Someone who gives answers one after another."""

    def __init__(self, *answers: str) -> None:
        self._answers = [*answers]
        self.asked: list[str] = []

    def ask(self, question: str) -> str:
        """Return the next answer."""
        self.asked.append(question)
        return self._answers.pop(0)

    def say(self, text: str) -> None:
        """Hear nothing."""


def test_bridge_is_asked_about_where_there_is_one(folder: Path) -> None:
    """Here the loopback's interface stands for docker0."""
    flags = Flags(case="host", credentials=("openai",), upstream="http://127.0.0.1:9")
    answers = Answers("y")
    assert choose(flags, look_around(folder, {}, bridge="lo"), answers).bridge
    assert "in ordinary containers" in answers.asked[0]
    assert not choose(flags, look_around(folder, {}, bridge="none0"), Answers()).bridge


def test_chain_is_offered_first_where_a_headroom_answers(folder: Path) -> None:
    """And not spoken of where none does."""
    with answering(HEADROOM) as url:
        flags = Flags(case="host", credentials=("openai",), upstream=url, bridge=False)
        for answer, chain in (("", True), ("n", False)):
            answers = Answers(answer)
            assert choose(flags, look_around(folder, {}), answers).chain is chain
            (question,) = answers.asked
            assert question.endswith("so never see the credential? [y] ")
    assert not choose(flags, look_around(folder, {}), Answers()).chain


def test_flag_that_cannot_be_used_is_found_before_anything_is_asked(folder: Path) -> None:
    """Rather than after five answers."""
    with pytest.raises(BadArguments):
        choose(Flags(upstream="nonsense"), look_around(folder, {}), Answers())
