"""``relay init`` and a proxy on the way out: proposed as a variable has it, and written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.cli import OK, UNUSABLE, main
from relay.commands.init import Flags
from relay.commands.init.ask import choose
from relay.commands.init.detect import look_around
from relay.commands.init.way_out import WayOut, is_excepted, named_by
from relay.config import FileSource, load
from tests.integration.test_init import (  # noqa: F401  # fixtures: an empty folder, no Headroom
    _no_headroom_of_this_machine,
    compose,
    folder,
    mode_of,
)
from tests.integration.test_init_ask import Answers

Output = pytest.CaptureFixture[str]
PASSWORD = "Pw:7Hq2@Zt9"
VARIABLE = "http://corp%5Crelay:Pw%3A7Hq2%40Zt9@proxy.corp:3128/"
LOGIN = f"corp\\relay:{PASSWORD}"
URL = "http://proxy.corp:3128"


def proxies(path: Path) -> list[str]:
    """Return the proxies on the relays' ways out."""
    return [str(each.proxy) for each in load(path, {}).egresses]


def test_what_the_variable_says_is_written_down(
    folder: Path,  # noqa: F811  # a fixture
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    """And from then on it is the file that counts."""
    monkeypatch.setenv("HTTPS_PROXY", URL)
    assert main(["init", "--yes"]) == OK
    assert f'\negress: {{url: "{URL}"}}\n' in (folder / "agent.yaml").read_text()
    out = capsys.readouterr().out
    assert f"found     the proxy {URL} on the way to the API: $HTTPS_PROXY\n" in out
    monkeypatch.delenv("HTTPS_PROXY")
    assert proxies(folder / "agent.yaml") == [URL]


def test_user_and_password_go_into_a_file_of_their_own(
    folder: Path,  # noqa: F811  # a fixture
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    """Where that is asked for; they are shown nowhere, and stand in no other file."""
    monkeypatch.setenv("HTTPS_PROXY", VARIABLE)
    assert main(["init", "--yes"]) == OK
    assert not (folder / "secrets").exists()
    out, err = capsys.readouterr()
    missing = "secrets/proxy: write the proxy's user:password there; --store copies what "
    assert f"missing   {missing}$HTTPS_PROXY says\n" in out
    assert main(["init", "--yes", "--store"]) == OK
    again, more = capsys.readouterr()
    assert "missing   secrets/proxy" not in again
    file = folder / "secrets/proxy"
    assert (file.read_text(), mode_of(file)) == (f"{LOGIN}\n", 0o600)
    (egress,) = load(folder / "agent.yaml", {}).egresses
    assert egress.sources == (FileSource(file=str(file)),)
    shown = out + err + again + more + (folder / "agent.yaml").read_text()
    for part in (PASSWORD, "Pw%3A7Hq2", "7Hq2"):
        assert part not in shown


def test_beside_compose_it_is_where_secrets_are_mounted(
    compose: Path,  # noqa: F811  # a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the file is the folder's."""
    monkeypatch.setenv("https_proxy", VARIABLE)
    assert main(["init", "--yes", "--store"]) == OK
    text = (compose / "config/agent.yaml").read_text()
    assert f'egress: {{url: "{URL}", credential: {{file: /run/secrets/proxy}}}}\n' in text
    assert (compose / "secrets/proxy").read_text() == f"{LOGIN}\n"
    assert PASSWORD not in (compose / ".env").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--egress", "https://other.corp:8443"), ["https://other.corp:8443"]),
        (("--egress", "none"), []),
        (("--upstream", "https://llm.corp"), [URL]),
        (("--upstream", "http://localhost:9", "--no-chain"), []),
        (("--upstream", "http://llm.corp:9", "--no-chain"), []),
    ],
)
def test_flags_go_before_it(
    folder: Path,  # noqa: F811  # a fixture
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    expected: list[str],
) -> None:
    """Also with another proxy, and with ends that none is for."""
    monkeypatch.setenv("HTTPS_PROXY", URL)
    assert main(["init", "--yes", "--credential", "anthropic", *arguments]) == OK
    assert proxies(folder / "agent.yaml") == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--egress", f"http://corp:{PASSWORD}@p:1"), "the proxy must not hold a user or passwo"),
        (("--egress", "socks5://p:1080"), "the proxy must begin with http:// or https://"),
        (
            ("--egress", URL, "--upstream", "http://localhost:9", "--no-chain"),
            "--egress is for an API beyond this host, by https",
        ),
    ],
)
def test_flag_that_cannot_be_used(
    folder: Path,  # noqa: F811  # a fixture
    capsys: Output,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """Is said without its password, and nothing is written."""
    assert main(["init", "--yes", "--credential", "anthropic", *arguments]) == UNUSABLE
    err = capsys.readouterr().err
    assert said in err
    assert PASSWORD not in err
    assert list(folder.iterdir()) == []


def test_a_variable_that_names_no_such_proxy_is_said(
    folder: Path,  # noqa: F811  # a fixture
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    """And nothing is proposed."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.corp:1080")
    assert main(["init", "--yes"]) == OK
    said = "note      $HTTPS_PROXY names no http:// or https:// proxy; where one is needed"
    assert said in capsys.readouterr().out
    assert proxies(folder / "agent.yaml") == []


def test_it_is_asked_on_a_terminal(folder: Path) -> None:  # noqa: F811  # a fixture
    """Without user and password; whether to keep those is a question of its own."""
    flags = Flags(
        case="host",
        credentials=("anthropic",),
        upstream="https://api.anthropic.com",
        bridge=False,
    )
    found = look_around(folder, {"HTTPS_PROXY": VARIABLE})
    answers = Answers("", "y")
    choices = choose(flags, found, answers)
    assert (choices.egress, choices.store_login) == (found.way_out, True)
    assert answers.asked == [
        f"Should calls to the API go out through $HTTPS_PROXY's proxy, {URL}? [y] ",
        "Keep the proxy's user and password in secrets/proxy, for you alone to read? [n] ",
    ]
    assert choose(flags, found, Answers("n")).egress is None
    assert choose(flags, look_around(folder, {}), Answers()).egress is None
    excepted = {"HTTPS_PROXY": URL, "NO_PROXY": "localhost, .anthropic.com"}
    assert choose(flags, look_around(folder, excepted), Answers()).egress is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": " "}, None),
        ({"HTTP_PROXY": URL}, None),
        ({"HTTPS_PROXY": URL}, WayOut(URL, "HTTPS_PROXY")),
        ({"HTTPS_PROXY": "http://a.corp:1", "https_proxy": URL}, WayOut(URL, "https_proxy")),
        ({"HTTPS_PROXY": "proxy.corp:3128"}, WayOut(URL, "HTTPS_PROXY")),
        ({"HTTPS_PROXY": f"{URL}/pac?x"}, WayOut(URL, "HTTPS_PROXY")),
        ({"HTTPS_PROXY": "http://u@p:1"}, WayOut("http://p:1", "HTTPS_PROXY", "u:")),
        ({"HTTPS_PROXY": VARIABLE}, WayOut(URL, "HTTPS_PROXY", LOGIN)),
        ({"HTTPS_PROXY": "http://[::1"}, WayOut("", "HTTPS_PROXY")),
        ({"HTTPS_PROXY": "socks5h://p:1"}, WayOut("", "HTTPS_PROXY")),
    ],
)
def test_variables_are_read_as_others_do(
    environment: dict[str, str], expected: WayOut | None
) -> None:
    """The lower-case name first, the scheme left out or not, and no password in a repr."""
    found = named_by(environment)
    assert found == expected
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize(
    ("text", "excepted"),
    [
        ("", False),
        ("*", True),
        ("api.anthropic.com", True),
        ("localhost,.Anthropic.com", True),
        ("anthropic.com:443", True),
        ("opic.com", False),
        ("10.0.0.0/8, corp", False),
    ],
)
def test_exceptions_are_read_as_others_do(text: str, excepted: bool) -> None:
    """Names, and all that is below them."""
    assert is_excepted("api.anthropic.com", {"NO_PROXY": text}) is excepted
