"""``relay doctor --report``: what the file says, and that no planted secret is in it."""

from __future__ import annotations

import base64
import json
import re
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from relay.cli import FAILED, OK, main
from relay.commands.doctor import System
from relay.commands.report import compose
from relay.commands.report.redaction import Redaction
from relay.config import ConfigurationError, ListenAddress, load
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.messages import request
from tests.harness.relay import running_relay
from tests.harness.secrets import BODY_SECRET, CUSTOM_KEY, KEY, QUERY_SECRET, SECRETS, TOKEN
from tests.harness.upstream import Upstream
from tests.integration.diagnosis import answer, api

pytestmark = pytest.mark.asyncio_loop

Output = pytest.CaptureFixture[str]

NOBODY: Final = ListenAddress("127.0.0.1", 1)
# Words that no pattern could know for secrets: they are hidden for where they stand.
WORDS: Final = {
    "file": "correct-horse.txt",
    "folder": "battery-staple",
    "json": "vaultpath.of.mine",
    "argument": "open-sesame",
    "added": "swordfish-seven",
    "format": "tenant-melville",
    "path": "hidden-tenant",
    "other tool": "joshua-falken",
    "password": "falken-maze",
    "user": "stephen.falken",
    "host": "gateway.bigcorp.example",
    "variable": "crystal palace",
    "query": "pencil-norad",
}
# And such as patterns tell, wherever they come from.
STRANGE: Final = (
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "glpat-Zx8sWq2LmN4vB7cD9fG1",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r",
    "3f8a1c62-9d4e-4b7a-8c15-e02d6f9b7a31",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
)
LOOKALIKES: Final = (*SECRETS, *STRANGE)


def leaks(text: str, *more: str) -> list[str]:
    """Return which secrets are in a text, as they are or written in another way."""
    forms = ((each, each, quote(each, ""), _base64(each)) for each in (*LOOKALIKES, *more))
    folded = text.lower()
    return [each for each, *ways in forms if any(way.lower() in folded for way in ways)]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def planted(folder: Path, port: int) -> Config:
    """Return a configuration that is right, with a secret wherever one fits."""
    (folder / WORDS["folder"]).mkdir()
    (folder / WORDS["folder"] / WORDS["file"]).write_text(json.dumps({"vaultpath": KEY}))
    source = {"file": f"{WORDS['folder']}/{WORDS['file']}", "json": WORDS["json"]}
    corp = {
        "name": "corp",
        "source": {"env": "CORP_ACCESS"},
        "header": "X-Corp",
        "format": f"{WORDS['format']} {{}}",
        "add": {"x-corp-team": WORDS["added"]},
    }
    printer = {"command": ["/bin/echo", WORDS["argument"]], "ttl": 300}
    relays = {
        "corp": {
            "url": f"http://127.0.0.1:{port}/{WORDS['path']}",
            "grant": "corp",
            "api": "anthropic",
            "headers": {"X-Gateway": printer},
        },
        "far": {"url": f"https://{WORDS['host']}:8443/v1", "grant": "corp", "api": "anthropic"},
    }
    grants = [{"name": "anthropic", "source": {"file": "key"}}, corp]
    grants.append({"name": "openai", "source": source})
    relays["openai"] = {"url": f"http://127.0.0.1:{port}"}
    foreign = {"dependencies": [WORDS["other tool"]], "env": {"SOME_KEY": KEY}}
    return configuration(port, grants=grants, relays=relays, **foreign)


def environment(folder: Path) -> dict[str, str]:
    """Return variables of all sorts."""
    proxy = f"http://{WORDS['user']}:{WORDS['password']}@{WORDS['host']}:3128/?{WORDS['query']}"
    return {
        "HOME": str(folder / "home"),
        "CORP_ACCESS": CUSTOM_KEY,
        "HTTPS_PROXY": proxy,
        "DATABASE_PASSWORD": WORDS["variable"],
        "ANTHROPIC_API_KEY": KEY,
        "RELAY_LISTEN": f"{WORDS['user']}:{WORDS['password']}@{WORDS['host']}:8484",
    }


def message(model: str) -> dict[str, object]:
    """Return what a model answers."""
    usage = {"input_tokens": 25, "output_tokens": 9}
    return {"type": "message", "model": model, "content": [], "usage": usage}


async def reported(folder: Path, config: Config | str, admin: ListenAddress = NOBODY) -> str:
    """Return the report on a configuration."""
    path = write_configuration(folder, config)
    try:
        loaded = load(path, {})
    except ConfigurationError as error:
        return await compose(path, error, System(folder / "host"), admin, environment(folder))
    return await compose(path, loaded, System(folder / "host"), admin, environment(folder))


async def test_no_planted_secret_is_in_it(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files, variables, headers, commands, paths, names of files, other tools and calls."""
    monkeypatch.setenv("CORP_ACCESS", CUSTOM_KEY)
    refusal = answer(401, {"error": {"message": f"bad {KEY}", "type": STRANGE[-1]}})
    config = planted(tmp_path, upstream.port)
    async with running_relay(tmp_path, config) as relay:
        for number, secret in enumerate(STRANGE):
            upstream.answer_with(api(models=refusal, messages=answer(200, message(secret))))
            body = json.dumps({"model": secret, "system": BODY_SECRET}).encode()
            target = f"/relay/anthropic/v1/messages?k={QUERY_SECRET}"
            session = f"x-claude-code-session-id: {secret}"
            await relay.ask(request(target, session, body=body))
            await relay.ask(request(f"/relay/anthropic/v1/{secret}", token=None))
            await relay.log.calls(2 * (number + 1))
        text = await reported(tmp_path, config, ListenAddress("127.0.0.1", relay.admin_port))
    assert leaks(text, *WORDS.values(), str(tmp_path)) == []
    assert "relay_requests_total" in text
    assert text.count("operation=messages") >= len(STRANGE)


async def test_no_value_of_a_source_is_in_it(upstream: Upstream, tmp_path: Path) -> None:
    """Not a further header's, nor a part of a proxy's credential, though they look like names."""
    account, password = "tenant-of-mine", "proxy-word"
    (tmp_path / "login").write_text(json.dumps({"token": KEY, "account": account}))
    (tmp_path / "way").write_text(f"relay-of-mine:{password}")
    headers = {"authorization": "Bearer {token}", "x-account": "{account}"}
    near = {"url": f"http://127.0.0.1:{upstream.port}", "grant": "corp", "api": "anthropic"}
    far = {"url": "https://api.anthropic.com", "grant": "corp", "api": "anthropic"}
    config = configuration(
        upstream.port,
        grants=[{"name": "corp", "source": {"file": "login"}, "headers": headers}],
        claude=None,
        relays={"near": near, "far": far},
        egress={"url": "http://127.0.0.1:1", "credential": {"file": "way"}},
    )
    async with running_relay(tmp_path, config) as relay:
        for said in (account, password):
            upstream.answer_with(api(models=answer(), messages=answer(200, message(said))))
            await relay.ask(request("/relay/near/v1/messages"))
        await relay.log.calls(2)
        text = await reported(tmp_path, config, ListenAddress("127.0.0.1", relay.admin_port))
    assert text.count("model=[redacted]") == 2
    assert [each for each in (account, password) if each in text] == []


@pytest.mark.parametrize("secret", [KEY, TOKEN, *STRANGE[:1], WORDS["password"], WORDS["query"]])
@pytest.mark.parametrize(
    "wrong",
    [
        "claude: {{base_url: 'http://user:{0}@127.0.0.1:1'}}",
        "claude: {{base_url: 'http://{0}:x@127.0.0.1:1'}}",
        "claude: {{base_url: 'http://127.0.0.1:1/?key={0}'}}",
        "claude: {{base_url: 'http://127.0.0.1:1/#{0}'}}",
        "claude: {{base_url: '{0}'}}",
        "claude: {{base_url: 'http://127.0.0.1:1', api_key: '{0}'}}",
        "claude: {{base_url: ['{0}']}}",
        "grants: ['{0}']",
        "grants: [{{name: anthropic, source: '{0}'}}]",
        "grants: [{{name: anthropic, source: {{file: 'keys/{0}'}}}}]",
        "grants: [{{name: anthropic, source: {{value: '{0}'}}}}]",
        "clients: [{{name: agent, token: '{0}'}}]",
        "relays: {{a: {{headers: {{Authorization: 'Bearer {0}'}}}}}}",
        "listen: ['{0}']",
        "limits: ['{0}']",
        "# {0}\ngrants: 1",
        "grants: [anthropic\n{0}: [",
        "'{0}'",
    ],
)
async def test_no_mistake_shows_its_value(tmp_path: Path, wrong: str, secret: str) -> None:
    """Whatever stands in a wrong place is no more shown than in the right one."""
    text = await reported(tmp_path, wrong.format(secret))
    # A name is shown where names are: what looks like one is nobody's key.
    named = secret in WORDS.values() and wrong.startswith("grants: ['")
    assert named or secret.lower() not in text.lower()


async def test_what_it_says(upstream: Upstream, tmp_path: Path) -> None:
    """Enough to see what is wrong: keys, hosts that are told apart, findings, figures."""
    said = message("claude-sonnet-4-5-20250929")
    upstream.answer_with(api(models=answer(), messages=answer(200, said)))
    config = configuration(upstream.port)
    async with running_relay(tmp_path, config) as relay:
        await relay.ask(request())
        await relay.log.calls(1)
        text = await reported(tmp_path, config, ListenAddress("127.0.0.1", relay.admin_port))
    heads = re.findall(r"^== (.*)$", text, re.MULTILINE)
    assert heads == [
        "versions",
        "configuration, redacted",
        "variables",
        "relay doctor",
        "/readyz",
        "/metrics, in short",
        "the last calls, without content",
    ]
    for line in (
        "  - {name: anthropic, source: {file: <file 1>}}",
        f"  base_url: http://127.0.0.1:{upstream.port}",
        "  - {name: agent, token: {file: <file 2>}}",
        "HTTPS_PROXY is set",
        "ANTHROPIC_API_KEY is set",
        f"relay anthropic -> http://127.0.0.1:{upstream.port}",
        "  ok    client      agent: its token is there, from <file 2>",
        "200",
    ):
        assert line in text.splitlines()
    assert "relay_requests_total {relay=anthropic, operation=messages, outcome=ok" in text
    assert re.search(r"^\d\d:\d\d:\d\d   relay=anthropic operation=messages", text, re.MULTILINE)
    assert "model=claude-sonnet-4-5-20250929 status=200 outcome=ok" in text
    assert "input=25 output=9" in text
    assert "client=" not in text


async def test_hosts_are_told_apart_and_not_named(tmp_path: Path) -> None:
    """The same host is the same throughout; what everybody has keeps its name."""
    relays = {
        "a": {"url": "https://one.corp.example:1/v1", "api": "anthropic"},
        "b": {"url": "https://two.corp.example:2/v1", "api": "anthropic"},
        "c": {"url": "https://api.anthropic.com", "api": "anthropic"},
    }
    config = configuration(1, relays=relays)
    text = await reported(tmp_path, config)
    assert ".corp.example" not in text
    (one,) = re.findall(r"    url: https://(host-\d+):1/v1", text)
    (two,) = re.findall(r"    url: https://(host-\d+):2/v1", text)
    assert one != two
    assert f"relay a -> https://{one}:1/v1" in text
    assert "    url: https://api.anthropic.com\n" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("api.example is 203.0.113.7", "api.example is 203.0.113.7"),  # for documentation: private
        ("gateway is 8.8.4.4", "gateway is host-1"),
        ("gateway is 2607:f8b0:4005:80b::200e, up", "gateway is host-1, up"),
        ("10:45:00 at 10.84.84.1:8484 and [::1]:9", "10:45:00 at 10.84.84.1:8484 and [::1]:9"),
        ("GET http://8.8.4.4:1/v1 and 8.8.4.4", "GET http://host-1:1/v1 and host-1"),
        ("took 1.5 s of 600; aiohttp 3.14.5", "took 1.5 s of 600; aiohttp 3.14.5"),
        ("model claude-sonnet-4-5-20250929", "model claude-sonnet-4-5-20250929"),
        ("authorization: Bearer abc, then", "authorization: [redacted]"),
        ("sent Bearer abc, then", "sent Bearer [redacted], then"),
        ("ftp://me:it@h/x?y#z", "ftp://host-1/<path>?<query>"),
        ("me:it@h then", "[redacted] then"),
    ],
)
def test_what_patterns_take_out_and_leave(text: str, shown: str) -> None:
    """Of addresses those that say whose they are; names of models and figures stay."""
    assert Redaction({}).apply(text) == shown


def test_it_is_one_file_of_its_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """In the current folder, whatever is wrong, and its path is what is printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_ADMIN", "127.0.0.1:1")
    write_configuration(tmp_path, "grants: []\n")
    assert main(["doctor", "--report"]) == OK
    path = Path(capsys.readouterr().out.strip())
    assert re.fullmatch(r"relay-report-\d{8}T\d{6}Z\.txt", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "agent.yaml:1: grants: is required" in path.read_text()
    assert "nothing else was looked at" in path.read_text()


def test_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """It says so; with a dash it is printed, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_ADMIN", "127.0.0.1:1")
    assert main(["doctor", "--report=-"]) == OK
    text = capsys.readouterr().out
    assert "(there is none)" in text
    assert "relay init writes one" in text
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """The way out is named."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    monkeypatch.setenv("RELAY_ADMIN", "127.0.0.1:1")
    assert main(["doctor", "--report"]) == FAILED
    assert "--report=- prints it instead" in capsys.readouterr().err
    assert TOKEN not in capsys.readouterr().out
