"""What is said of every mistake in agent.yaml, and that no secret in a wrong place is shown."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from relay.commands.check import describe
from relay.config import CommandSource, ConfigurationError, EnvSource, FileSource, Timeouts
from relay.config.schema import Claude, Client, Grant, Relay
from relay.config.sources import Model
from tests.unit.config.documents import (
    API_KEY,
    RELAY_TOKEN,
    SHORT,
    grant_with,
    mistakes,
    read,
    relay_with,
)

HEX_KEY = "f3b07c2e81d4a65b0f7d2c9e4a18369d"
# A folder as Nix names it, by a hash of what is in it.
NIX_PATH = "/nix/store/0c4h1n2a9p3m8qk5x7z6w1v4b2d8f3g5-agent-key-1.0/key"


# Mistakes

MISTAKES = [
    # Nothing, or not enough
    ("", "1: is empty; it needs grants, and claude.hops, claude.base_url or relays"),
    (
        "# only a comment\n",
        "1: is empty; it needs grants, and claude.hops, claude.base_url or relays",
    ),
    (
        "grants: [anthropic]\n",
        "1: no relay: set claude.hops or claude.base_url, or declare one in relays",
    ),
    ("grants: [anthropic]\nrelays: {}\n", "1: no relay:"),
    ("grants: [anthropic]\nclaude: {}\n", "1: no relay:"),
    ("grants: [anthropic]\nclaude: {base_url: null}\n", "1: no relay:"),
    ("relays: {r: {url: http://h}}\n", "1: grants: is required: at least one"),
    ("grants: []\nrelays: {r: {url: http://h}}\n", "1: grants: is required: at least one"),
    ("grants: [anthropic]\nrelays:\n  r: null\n", "3: relays.r: needs url"),
    # Grants
    (
        SHORT.replace("[anthropic]", "[openai]"),
        "3: claude.base_url: no declared grant can serve it",
    ),
    (SHORT.replace("[anthropic]", "[nope]"), "1: grants[0]: is none of the built-in grants"),
    (SHORT.replace("[anthropic]", "[anthropic, anthropic]"), "1: grants[1]: is declared twice"),
    (SHORT.replace("[anthropic]", "[5]"), "1: grants[0]: must be a mapping"),
    (
        SHORT.replace("[anthropic]", "anthropic"),
        "1: grants: must be a list, for example grants: [anthropic]",
    ),
    (SHORT.replace("[anthropic]", "[{name: none}]"), "1: grants[0].name: "),
    (SHORT.replace("[anthropic]", "[{source: {env: A}}]"), "1: grants[0].name: is required"),
    (grant_with("header: X"), "2: grants[0].header: is for custom grants only"),
    (grant_with("add: {}"), "2: grants[0].add: is for custom grants only"),
    (grant_with('headers: {X: "{}"}'), "2: grants[0].headers: is for custom grants only"),
    *(
        (relay_with("max_body: 5", f"[{{name: g, source: {{env: A}}, {fields}}}]"), message)
        for fields, message in (
            ('header: X, headers: {Y: "{}"}', "grants[0].header: stands beside headers"),
            ('format: "{}", headers: {Y: "{}"}', "grants[0].format: stands beside headers"),
            ('headers: {Y: "{}", y: "{a}"}', "grants[0].headers: says a header twice"),
            ('headers: {Y: "none"}', "must hold the name of a field once, in braces"),
            ('headers: {Y: "{a}{b}"}', "must hold the name of a field once, in braces"),
            ('headers: {Y: "{a b}"}', "must hold the name of a field once, in braces"),
            ('headers: {Host: "{a}"}', "must be the name of a header"),
            ("headers: {}", "a custom one needs name, source and header"),
        )
    ),
    (
        grant_with("sauce: {env: A}"),
        '2: grants[0].sauce: is an unknown key; did you mean "source"?',
    ),
    # Sources
    (grant_with("source: A_KEY"), "2: grants[0].source: must be one of {env: NAME}, {file: PATH}"),
    (grant_with("source: {}"), "2: grants[0].source: must be one of"),
    (grant_with("source: {var: A}"), "2: grants[0].source: must be one of"),
    (grant_with("source: {env: ''}"), "2: grants[0].source.env: must be the name of"),
    (grant_with("source: {env: 1A}"), "2: grants[0].source.env: must be the name of"),
    (grant_with("source: {env: 5}"), "2: grants[0].source.env: must be text; put it in quotes"),
    (
        grant_with("source: {env: A, file: b}"),
        "2: grants[0].source.file: does not go with env; keep one of them",
    ),
    (grant_with("source: {env: A, ttl: 5}"), "2: grants[0].source.ttl: is an unknown key"),
    (
        grant_with("source: {file: a, jsn: b}"),
        "2: grants[0].source.jsn: is an unknown key; did you",
    ),
    (grant_with("source: {file: ''}"), "2: grants[0].source.file: must be the path of a file"),
    (grant_with('source: {file: "a\\0"}'), "2: grants[0].source.file: must be the path of a file"),
    (grant_with("source: {file: a, json: ''}"), "2: grants[0].source.json: must not be empty"),
    (grant_with("source: {command: []}"), "2: grants[0].source.command: must not be empty"),
    (grant_with("source: {command: a b}"), "2: grants[0].source.command: must be a list"),
    (grant_with("source: {command: [a], ttl: 0}"), "2: grants[0].source.ttl: must be greater than"),
    (grant_with("source: {command: [a], ttl: x}"), "2: grants[0].source.ttl: must be a number"),
    (grant_with("source: {file: ' '}"), "2: grants[0].source.file: must be the path of a file"),
    (grant_with('source: {file: "a\\nb"}'), "2: grants[0].source.file: must be the path of a"),
    (grant_with("source: {file: ~nobody-at-all/x}"), "2: grants[0].source.file: names the home"),
    (
        grant_with('source: {file: a, json: "\\t"}'),
        "2: grants[0].source.json: must be a dotted path",
    ),
    (grant_with("source: {command: ['']}"), "2: grants[0].source.command: must be a program"),
    (grant_with('source: {command: ["a", "\\0"]}'), "2: grants[0].source.command: must be a"),
    (grant_with('source: {command: ["\\ud800"]}'), "2: "),
    # The shorthand
    ("grants: [anthropic]\nclaude: {base_url: localhost}\n", "2: claude.base_url: must begin with"),
    ("grants: [anthropic]\nclaude: {base_url: 5}\n", "2: claude.base_url: must be text"),
    ("grants: [anthropic]\nclaude: {url: http://h}\n", "2: claude.url: is an unknown key"),
    ("grants: [anthropic]\nclaude: http://h\n", "2: claude: must be a mapping"),
    (
        SHORT + "relays: {anthropic: {url: http://other}}\n",
        "4: relays.anthropic.url: differs from claude.base_url; keep one of them",
    ),
    # Its grant
    (SHORT + "  grant: claude\n", "2: claude: grant: names a grant that is not declared in grants"),
    (SHORT + "  grant: 5\n", "4: claude.grant: must be text"),
    (
        SHORT + "  grant: anthropic\nrelays: {anthropic: {grant: claude}}\n",
        "5: relays.anthropic.grant: differs from claude.grant; keep one of them",
    ),
    (
        "grants: [openai]\nclaude: {grant: openai}\nrelays: {openai: {url: http://h}}\n",
        "2: claude.grant: needs base_url beside it",
    ),
    # Relays
    ("grants: [anthropic]\nrelays: [a]\n", "2: relays: must be a mapping"),
    ("grants: [anthropic]\nrelays: {r: http://h}\n", "2: relays.r: must be a mapping"),
    ("grants: [anthropic]\nrelays: {a b: {url: http://h}}\n", "2: relays.<not shown>: a relay's"),
    ("grants: [anthropic]\nrelays: {'': {url: http://h}}\n", "2: relays.<not shown>: a relay's"),
    ("grants: [anthropic]\nrelays: {a/b: {url: http://h}}\n", "2: relays.a/b: a relay's name"),
    ("grants: [anthropic]\nrelays: {none: {url: http://h}}\n", "2: relays.none: "),
    ("grants: [anthropic]\nrelays: {r: {url: ftp://h}}\n", "2: relays.r.url: must begin with"),
    (relay_with("grnat: anthropic"), '4: relays.r.grnat: is an unknown key; did you mean "grant"?'),
    (relay_with("grant: openai"), "relays.r: grant: names a grant that is not declared"),
    (relay_with("grant: 5"), "4: relays.r.grant: must be text"),
    (relay_with("api: openai"), "relays.r: no declared grant can serve it; declare openai"),
    (relay_with("api: openai, grant: anthropic"), "relays.r: grant: cannot serve an API of"),
    (relay_with("api: gemini"), "4: relays.r.api: must be anthropic or openai"),
    (relay_with("allow: []"), "4: relays.r.allow: must not be empty"),
    (relay_with("allow: /v1"), "4: relays.r.allow: must be a list"),
    (relay_with("allow: [v1]"), "4: relays.r.allow[0]: must be a plain path that begins with /"),
    (relay_with("allow: [/a, /../b]"), "4: relays.r.allow[1]: must be a plain path"),
    (relay_with("allow: ['/a?b']"), "4: relays.r.allow[0]: must be a path without a query"),
    (relay_with("ca_file: /nowhere/ca.pem"), "4: relays.r.ca_file: must be a readable file of CA"),
    (relay_with("max_body: 0"), "4: relays.r.max_body: must be greater than 0"),
    (relay_with("max_body: 1.5"), "4: relays.r.max_body: must be a whole number"),
    (relay_with("max_body: true"), "4: relays.r.max_body: must be a whole number"),
    (relay_with("max_body: '5'"), "4: relays.r.max_body: must be a whole number"),
    # Listeners
    (SHORT + "listen: []\n", "4: listen: must not be empty"),
    (
        SHORT + "listen: 8484\n",
        '4: listen: must be a list, for example listen: ["127.0.0.1:8484"]',
    ),
    (SHORT + "admin: 9484\n", '4: admin: must be a list, for example admin: ["127.0.0.1:9484"]'),
    (SHORT + "listen: ['[::1]:1', '[::1]:1']\n", "4: listen: names an address twice; keep one"),
    (SHORT + "listen: [8484]\n", '4: listen[0]: must be text like "127.0.0.1:8484"'),
    (SHORT + "listen: ['127.0.0.1']\n", "4: listen[0]: must be host:port"),
    (SHORT + "admin: ['127.0.0.1:x']\n", "4: admin[0]: must be host:port"),
    (SHORT + "admin: '127.0.0.1:8484'\n", "4: admin: must not be the same address as a listener"),
    (SHORT + "listen: ['0.0.0.0:8484']\n", "4: listen: a listener that is not loopback needs"),
    (SHORT + "listen: ['docker0:8484']\n", "4: listen: a listener that is not loopback needs"),
    # The relay itself
    (
        "grants: [anthropic]\nclaude:\n  base_url: http://localhost:8484\n",
        "3: claude.base_url: is the relay's own address; name what it should forward to",
    ),
    (
        relay_with("url: http://127.0.0.1:9484").replace("url: http://localhost:8787, ", ""),
        "4: relays.r.url: is the relay's own address",
    ),
    (SHORT + "listen: '127.0.0.1:8787'\n", "3: claude.base_url: is the relay's own address"),
    # Top-level keys that explain what is missing
    (SHORT.replace("grants", "grant"), "1: grants: is required: at least one"),
    (
        SHORT.replace("grants", "grant"),
        "1: grant: a top-level key is not the relay's; did you mean",
    ),
    (
        SHORT.replace("  base_url", "base_url"),
        "3: base_url: a top-level key is not the relay's; ind",
    ),
    # Clients
    (SHORT + "clients: {agent: a}\n", "4: clients: must be a list, for example clients: [{name:"),
    (SHORT + "clients: [agent]\n", "4: clients[0]: must be a mapping, for example clients: [{name"),
    (SHORT + "clients: [{name: a}]\n", "4: clients[0].token: is required"),
    (SHORT + "clients: [{token: {env: A}}]\n", "4: clients[0].name: is required"),
    (SHORT + "clients: [{name: a b, token: {env: A}}]\n", "4: clients[0].name: must be letters"),
    (SHORT + "clients: [{name: a, token: {env: A}, tkn: 1}]\n", "4: clients[0].tkn: is an unknown"),
    (
        SHORT + "clients:\n  - {name: a, token: {env: A}}\n  - {name: a, token: {env: B}}\n",
        "6: clients[1].name: is declared twice",
    ),
    # Limits
    (SHORT + "timeouts: 5\n", "4: timeouts: must be a mapping"),
    (SHORT + "timeouts: {idel: 5}\n", '4: timeouts.idel: is an unknown key; did you mean "idle"?'),
    (SHORT + "timeouts: {idle: 0}\n", "4: timeouts.idle: must be greater than 0"),
    (SHORT + "timeouts: {idle: -1}\n", "4: timeouts.idle: must be greater than 0"),
    (SHORT + "timeouts: {idle: .nan}\n", "4: timeouts.idle: must be"),
    (SHORT + "timeouts: {idle: '5'}\n", "4: timeouts.idle: must be a number"),
    (SHORT + "timeouts: {idle: 5s}\n", "4: timeouts.idle: must be a number"),
    (SHORT + "timeouts: {idle: true}\n", "4: timeouts.idle: must be a number"),
    (SHORT + "drain: 30s\n", "4: drain: must be a number"),
    (SHORT + "drain: 1e999\n", "4: drain: must be a finite number"),
    (SHORT + "drain: -1e3\n", "4: drain: must not be negative"),
    (relay_with("max_body: 1e-3"), "4: relays.r.max_body: must be a whole number"),
    (SHORT + "drain: -1\n", "4: drain: "),
    # The file itself
    ("just text\n", "1: must be a mapping, for example grants: [anthropic]"),
    (SHORT + "grants: [claude]\n", '4: grants: "grants" is said twice; keep one'),
    (SHORT + "x: [\n", "is not valid YAML"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_mistake_is_named_by_line_field_and_remedy(file: Path, text: str, expected: str) -> None:
    """Whoever reads it knows where to look and what to write."""
    assert any(expected in line for line in mistakes(file, text))


def test_file_of_another_kind_is_one_mistake(file: Path) -> None:
    """It is not said to be empty as well."""
    assert len(mistakes(file, "- grants\n")) == 1


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    """In the order of the file; none hides another."""
    text = """\
grants:
  - name: anthropic
    source: {env: not-a-name}
claude:
  base_url: localhost
relays:
  openai:
    url: http://h
    grant: missing
    allow: [v1]
listen: ["127.0.0.1"]
clients:
  - name: a b
    token: {env: A}
timeouts: {idle: 0, wirte: 5}
drain: soon
"""
    fields = [line.split(": ")[:2] for line in mistakes(file, text)]
    for expected in (
        ["3", "grants[0].source.env"],
        ["5", "claude.base_url"],
        ["7", "relays.openai"],
        ["10", "relays.openai.allow[0]"],
        ["11", "listen[0]"],
        ["13", "clients[0].name"],
        ["15", "timeouts.idle"],
        ["15", "timeouts.wirte"],
        ["16", "drain"],
    ):
        assert expected in fields
    assert [int(line) for line, _ in fields] == sorted(int(line) for line, _ in fields)


def test_shorthand_without_a_grant_says_what_is_missing(file: Path) -> None:
    """Both halves of it: the grant, and which one would serve."""
    assert mistakes(file, "claude:\n  base_url: http://localhost:8787\n") == [
        "1: grants: is required: at least one, for example grants: [anthropic]",
        "2: claude.base_url: needs a grant that can serve it: anthropic or claude",
    ]


def test_claude_may_be_null(file: Path) -> None:
    """A section that is there and empty is none."""
    text = "grants: [anthropic]\nclaude:\nrelays: {r: {url: http://h}}\ntimeouts:\nclients:\n"
    assert [relay.name for relay in read(file, text).relays] == ["r"]


# Secrets in the wrong place

MISPLACED = [
    "grants: [{}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: {}\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: [{}]}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{env: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{file: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{file: a, json: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{command: [{}]}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{{}: x}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{env: A, {}: x}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, source: {{value: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, key: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, {}: x}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: anthropic, header: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [{{name: g, source: {{env: A}}, header: X, format: {}}}]\nclaude: {{base_url: x}}\n",
    "grants: [{{anthropic: {}}}]\nclaude: {{base_url: http://h}}\n",
    "grants: [anthropic]\nclaude: {{base_url: {}}}\n",
    "grants: [anthropic]\nclaude: {{base_url: 'http://{}@h'}}\n",
    "grants: [anthropic]\nclaude: {{base_url: 'http://u:{}@h'}}\n",
    "grants: [anthropic]\nclaude: {{base_url: 'http://h?key={}'}}\n",
    "grants: [anthropic]\nclaude: {{base_url: http://h, key: {}}}\n",
    "grants: [anthropic]\nclaude: {{base_url: http://h, {}: x}}\n",
    "grants: [anthropic]\nclaude: {}\n",
    "grants: [anthropic]\nrelays: {}\n",
    "grants: [anthropic]\nrelays: {{r: {}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, grant: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, api: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, key: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, max_body: {}}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, allow: [{}]}}}}\n",
    "grants: [anthropic]\nrelays: {{r: {{url: http://h, ca_file: {}}}}}\n",
    SHORT + "clients: {}\n",
    SHORT + "clients: [{}]\n",
    SHORT + "clients: [{{name: agent, token: {}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{env: {}}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{file: {}}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{file: a, json: {}}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{command: [{}]}}}}]\n",
    SHORT + "clients: [{{name: agent, token: {{value: {}}}}}]\n",
    SHORT + "clients: [{{name: {}, token: {{env: A}}}}]\n",
    SHORT + "clients: [{{agent: {}}}]\n",
    SHORT + "listen: [{}]\n",
    SHORT + "listen: ['{}:8484']\n",
    SHORT + "admin: {}\n",
    SHORT + "timeouts: {}\n",
    SHORT + "timeouts: {{idle: {}}}\n",
    SHORT + "timeouts: {{{}: 5}}\n",
    SHORT + "drain: {}\n",
    SHORT + "x: [{}\n",
    SHORT + "x: '{}\n",
    SHORT + "x: *{}\n",
    SHORT + "{}\n",
    "{}\n",
    "- {}\n",
]


@pytest.mark.parametrize("secret", [API_KEY, RELAY_TOKEN, HEX_KEY], ids=["key", "token", "hex"])
@pytest.mark.parametrize("template", MISPLACED)
def test_misplaced_secret_is_a_mistake_and_is_never_printed(
    file: Path, template: str, secret: str
) -> None:
    """Not in the error, not in its repr, not in what a traceback would show."""
    with pytest.raises(ConfigurationError) as caught:
        read(file, template.format(secret))
    error = caught.value
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert cause is None
    for part in (secret, secret[:20], secret[-20:]):
        assert part not in f"{error} {error!r} {error.explain()} {error.args!r}"


@pytest.mark.parametrize("name", ["my-relay-2024", "risk-model", "task-runner_2.eu-west-1"])
def test_name_that_looks_a_little_like_a_key_is_one(file: Path, name: str) -> None:
    """For relays, grants and clients alike."""
    text = (
        f"grants: [{{name: {name}, source: {{env: A}}, header: X-Key}}]\n"
        f"relays: {{{name}: {{url: http://h, grant: {name}}}}}\n"
        f"clients: [{{name: {name}, token: {{env: B}}}}]\n"
    )
    settings = read(file, text)
    (grant,), (relay,), (client,) = settings.grants, settings.relays, settings.clients
    assert {grant.name, relay.name, client.name} == {name}


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("{env: MY_SERVICE_2_API_KEY}", EnvSource(env="MY_SERVICE_2_API_KEY")),
        (f"{{file: {NIX_PATH}}}", FileSource(file=NIX_PATH)),
        (
            "{file: /x, json: claudeAiOauth.accessToken}",
            FileSource(file="/x", json_path="claudeAiOauth.accessToken"),
        ),
        (f"{{command: [{NIX_PATH}, -x]}}", CommandSource(command=(NIX_PATH, "-x"))),
        (
            f"{{command: [pass, show, {HEX_KEY}]}}",
            CommandSource(command=("pass", "show", HEX_KEY)),
        ),
    ],
)
def test_source_that_looks_a_little_like_a_key_is_one(
    file: Path, text: str, source: EnvSource | FileSource | CommandSource
) -> None:
    """Folders named by hashes, variables and paths with digits; arguments are never shown."""
    assert read(file, grant_with(f"source: {text}")).grants[0].sources == (source,)


@pytest.mark.parametrize(
    "template",
    [
        "grants: [anthropic]\nrelays: {{{}: {{url: http://h}}}}\n",
        SHORT + "clients: [{{name: {}, token: {{env: A}}}}]\n",
        "grants: [{{name: {}, source: {{env: A}}, header: X}}]\nrelays: {{r: {{url: http://h}}}}\n",
        "grants: [{{name: anthropic, source: {{env: {}}}}}]\nclaude: {{base_url: http://h}}\n",
    ],
    ids=["relay", "client", "grant", "variable"],
)
@pytest.mark.parametrize("secret", [API_KEY, RELAY_TOKEN, HEX_KEY], ids=["key", "token", "hex"])
def test_secret_is_no_name(file: Path, template: str, secret: str) -> None:
    """Names go into logs and metrics, so what looks like a key is none."""
    lines = mistakes(file, template.format(secret))
    assert secret not in str(lines)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Grant, {"name": API_KEY}),
        (Grant, {"name": "g", "source": {"env": API_KEY}, "format": API_KEY, "other": API_KEY}),
        (Client, {"name": "c", "token": API_KEY}),
        (Claude, {"base_url": API_KEY}),
        (Relay, {"url": API_KEY, "max_body": API_KEY, "allow": [API_KEY]}),
        (Timeouts, {"idle": API_KEY}),
    ],
)
def test_schema_shows_no_input_by_itself(kind: type[Model], data: dict[str, object]) -> None:
    """Pydantic prints what it refuses unless it is told not to."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(data)
    assert API_KEY[:16] not in f"{caught.value} {caught.value!r}"


def test_secret_as_another_tools_key_is_no_mistake_and_not_shown(file: Path) -> None:
    """Neither a warning nor the description shows it."""
    settings = read(file, SHORT + f"{API_KEY}: 1\nother: {API_KEY}\n")
    shown = "\n".join(asyncio.run(describe(settings)))
    assert API_KEY not in shown + repr(settings)


def test_values_of_the_environment_stay_out_of_the_settings(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings say where a secret is, never what it is."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", API_KEY)
    monkeypatch.setenv("RELAY_TOKEN", RELAY_TOKEN)
    settings = read(file, SHORT, ANTHROPIC_API_KEY=API_KEY, RELAY_TOKEN=RELAY_TOKEN)
    shown = "\n".join([repr(settings), *asyncio.run(describe(settings))])
    assert API_KEY not in shown
    assert RELAY_TOKEN not in shown
