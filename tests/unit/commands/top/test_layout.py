"""What is drawn, and that nothing foreign can break it."""

import io
import re

import pytest
from rich.console import Console

from relay.commands.top import format as words
from relay.commands.top.layout import View, draw, share_rows
from tests.unit.commands.top.pages import (
    BUSY,
    HOSTILE,
    NOW,
    Json,
    figures_of,
    finished,
    page,
    picture,
    relay_json,
    running,
)


class TestPicture:
    """What is drawn."""

    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize(
        ("credential", "refused", "word"),
        [(True, True, "refused"), (True, False, "ready"), (True, None, "ready"),
         (False, True, "missing"), (None, True, "–")],
    )  # fmt: skip
    def test_a_credential_that_is_refused_is_not_ready(
        self, width: int, credential: bool | None, refused: bool | None, word: str
    ) -> None:
        """An older relay does not say; and one that is not there is missing before all."""
        state = {"upstream": "up", "credential": credential, "refused": refused}
        lines = picture(page(relays={"anthropic": state}), width=width).splitlines()
        assert any(re.match(rf" anthropic +up,? +{word} ", line) for line in lines)

    @pytest.mark.parametrize("width", [80, 120])
    @pytest.mark.parametrize(
        ("left", "word"),
        [(7800, "2 h left"), (42, "42 s left"), (-5, "0.00 s left")],
    )
    def test_shows_how_long_a_credential_still_lasts(
        self, width: int, left: float, word: str
    ) -> None:
        """Where it says so; its end is in the JSON as well."""
        state = {"upstream": "up", "credential": True, "expires_at": NOW + left}
        told = page(relays={"anthropic": state})
        lines = picture(told, width=width).splitlines()
        assert any(re.match(rf" anthropic +up,? +{word}", line) for line in lines)
        shown = relay_json(told)
        assert shown["expires_at"] == NOW + left
        assert shown["expires_in"] == max(left, 0)

    @pytest.mark.parametrize("width", [80, 120])
    def test_shows_what_there_is(self, width: int) -> None:
        """Every figure is in its place, and no line is too long."""
        lines = picture(BUSY, width=width).splitlines()
        assert max(len(line) for line in lines) <= width
        expected = [
            r"relay top  127\.0\.0\.1:9484  \d\d:\d\d:\d\d +3 calls in flight",
            r" anthropic +up,? +ready +2 +1\.0 s / 1\.0 s +1k / 1\.2k +75 % +1",
            r" openai +down,? +missing +0 +– +0 / 0 +– +0",
            r" no relay .* 1",
            r" └ anthropic: 1 upstream error",
            r" └ no relay: 1 rejected",
            r" anthropic +5h window +█+░+ +58 %  resets in 2 h 10 min",
            r" +input tokens +█+░+ +1\.6M of 2M  resets in 42 s",
            r" 1 min 23 s  anthropic  agent +claude-opus-4-5 .* 1\.7 s +44k .*3\.2k",
            r" +12 s  anthropic  other .*/v1/messages +answering .*–",
            r" +0\.30 s  anthropic  – .*GET /v1/models +waiting .*–",
            r" 10 s ago  no relay .*401 rejected.* /v1/messages +2\.0 s",
            r" 20 s ago  anthropic .*529 upstream error .* /v1/messages +2\.0 s",
            r" 30 s ago  anthropic .*200 ok +claude-haiku-4-5 .* 2\.0 s +1k .*1\.2k",
        ]
        found = [line for line in lines if any(re.match(text, line) for text in expected)]
        assert [
            re.match(text, line) is not None for text, line in zip(expected, found, strict=True)
        ]
        assert len(found) == len(expected)

    def test_wide_shows_more(self) -> None:
        """There is room for the path beside the model, the cached share and the reason."""
        text = picture(BUSY, width=120)
        assert re.search(r"claude-opus-4-5 +/v1/messages +1\.7 s +44k +91 % +3\.2k", text)
        assert "401 rejected: token" in text

    @pytest.mark.parametrize("width", [80, 120])
    def test_of_nothing(self, width: int) -> None:
        """An empty page says so in each part."""
        text = picture(page(), width=width)
        for line in (
            "0 calls in flight",
            "no relay is configured",
            "the upstreams have stated none so far",
            "\n nothing",
            "\n none so far",
        ):
            assert line in text

    def test_lost(self) -> None:
        """The screen says that it is old, and of when."""
        text = picture(page(), lost="no relay answers at 127.0.0.1:9484")
        line = (
            r"^No relay answers at 127\.0\.0\.1:9484; trying again\. This is from \d\d:\d\d:\d\d\."
        )
        assert re.search(line, text, re.MULTILINE)

    @pytest.mark.parametrize("width", [20, 80, 120])
    def test_hostile_names_are_text(self, width: int) -> None:
        """Neither markup nor an escape of an agent's or an upstream's does anything."""
        names = ("relay", "client", "method", "path", "operation", "model", "outcome", "reason")
        hostile: Json = dict.fromkeys(names, HOSTILE)
        state = {
            "upstream": HOSTILE,
            "quotas": [{"window": HOSTILE, "utilization": 0.5}],
            "limits": [{"kind": HOSTILE, "limit": 2, "remaining": 1}],
        }
        text = page(
            in_flight=[hostile | {"age": 1}],
            recent=[hostile | {"finished": NOW}],
            relays={HOSTILE: state},
        )
        console = Console(
            width=width, file=io.StringIO(), force_terminal=True, color_system=None, record=True
        )
        console.print(draw(View(HOSTILE, figures_of(text), HOSTILE), console, fill=False))
        drawn = console.export_text()
        assert all(letter.isprintable() or letter == "\n" for letter in drawn)
        assert width == 20 or "/[bold red]x[/]" in drawn

    @pytest.mark.parametrize(
        ("width", "model", "count"), [(109, True, 15), (109, False, 17), (200, True, 21)]
    )
    def test_markup_is_text_everywhere(self, width: int, *, model: bool, count: int) -> None:
        """Every cell that holds a foreign name shows all of it."""
        markup = "[b]x[/]"
        names = ["relay", "client", "method", "path", "outcome", "reason"]
        call: Json = dict.fromkeys([*names, "model"] if model else names, markup)
        state = {
            "upstream": markup,
            "quotas": [{"window": markup, "utilization": 0.5}],
            "limits": [{"kind": markup}],
        }
        text = page(in_flight=[call], recent=[call], relays={markup: state})
        console = Console(width=width, file=io.StringIO(), record=True)
        console.print(draw(View(markup, figures_of(text), markup), console, fill=False))
        assert console.export_text().count(markup) == count

    def test_text_without_escapes_says_what_it_held(self) -> None:
        """What does not print is shown as the log shows it, and not without end."""
        assert words.plain("a\x1b[1m\r\n\x9b\u202e\ud800é") == r"a\x1b[1m\r\n\x9b\u202e\ud800é"
        assert len(words.plain("x" * 10_000)) == words.LONGEST

    def test_a_full_screen_is_not_overrun(self) -> None:
        """Of many calls those are shown for which there are lines, and the rest is counted."""
        text = page(in_flight=[running(i) for i in range(60)], recent=[finished(1)] * 60)
        drawn = picture(text, fill=True)
        assert len(drawn.splitlines()) == 24
        assert "the 8 oldest; 52 more" in drawn

    @pytest.mark.parametrize(
        ("room", "running", "ended", "shares"),
        [
            (30, 0, 0, (1, 1)),
            (30, 3, 100, (3, 27)),
            (30, 100, 100, (20, 10)),
            (30, 100, 2, (28, 2)),
            (-5, 100, 100, (2, 2)),
        ],
    )
    def test_share_rows(self, room: int, running: int, ended: int, shares: tuple[int, int]) -> None:
        """Two thirds at least are for calls in flight; what one does not need, the other has."""
        assert share_rows(room, running, ended) == shares
