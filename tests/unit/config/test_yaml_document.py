"""agent.yaml as data with line numbers; and YAML's own errors, which must quote nothing."""

import pytest

from relay.config import ConfigurationError, Problem
from relay.config.problems import looks_secret, shown, suggest
from relay.config.yaml_document import Document, read_document

SECRET = "sk-ant-api03-Jr7Wm2Kx9Qv4Tz1Lb6Nc8Hd3Gf5Ys-pA0eUo"

TEXT = """\
# a comment
grants:
  - anthropic
  - name: claude
    source: {env: X}

claude:
  base_url: >-
    http://localhost:8787
listen: ["a",
  "b"]
"""


def problems_of(text: str) -> list[Problem]:
    """Return what is wrong with this text."""
    with pytest.raises(ConfigurationError) as caught:
        read_document(text)
    return caught.value.problems


def test_document_is_plain_data() -> None:
    """Mappings, lists and scalars, as YAML has them."""
    assert read_document(TEXT).data == {
        "grants": ["anthropic", {"name": "claude", "source": {"env": "X"}}],
        "claude": {"base_url": "http://localhost:8787"},
        "listen": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("grants",), 2),
        (("grants", 0), 3),
        (("grants", 1), 4),
        (("grants", 1, "source"), 5),
        (("grants", 1, "source", "env"), 5),
        (("claude",), 7),
        (("claude", "base_url"), 8),
        (("listen", 1), 11),
        (("claude", "missing"), 7),
        (("grants", 1, "source", "missing", "deeper"), 5),
        (("missing",), 2),
    ],
)
def test_every_value_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    """And what is missing has the line of what is around it."""
    assert read_document(TEXT).line(path) == line


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "~"])
def test_file_without_content_is_no_data(text: str) -> None:
    """It is not a mistake of YAML's."""
    assert read_document(text).data is None


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("text", "text"),
        ("5", 5),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("2025-04-20", "2025-04-20"),
        ("!!binary aGVsbG8=", "aGVsbG8="),
        ("'5'", "5"),
    ],
)
def test_scalars_are_read_as_yaml_says(scalar: str, value: object) -> None:
    """What JSON does not know stays as it was written."""
    assert read_document(f"a: {scalar}").data == {"a": value}


def test_keys_are_always_text() -> None:
    """``on`` and ``5`` are names, not values."""
    assert read_document("on: 1\n5: 2\nnull: 3\n").data == {"on": 1, "5": 2, "null": 3}


def test_anchors_may_be_referred_to() -> None:
    """Each use has the line of what it refers to, or its own."""
    assert read_document("a: &x [1]\nb: *x\n").data == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("a: &x {p: 1, q: 2}\nb: {<<: *x}\n", {"p": 1, "q": 2}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n", {"p": 1, "q": 3}),
        ("a: &x {p: 1, q: 2}\nb: {q: 3, <<: *x}\n", {"p": 1, "q": 3}),
        ("a: &x {p: 1}\nc: &y {p: 2, q: 2}\nb: {<<: [*x, *y]}\n", {"p": 1, "q": 2}),
        ("a: &x {p: 1}\nc: &y {<<: *x, q: 2}\nb: {<<: *y, r: 3}\n", {"p": 1, "q": 2, "r": 3}),
        ("a: &x {p: 1}\nc: &y {<<: *x, p: 2}\nb: {<<: *y}\n", {"p": 2}),
        ("a: &x {p: 1}\nb: {<<: *x, <<: {q: 2}}\n", {"p": 1, "q": 2}),
        ("b: {<<: {p: 1}}\n", {"p": 1}),
        ("b: {<<: []}\n", {}),
        ("b: {'<<': 1}\n", {"<<": 1}),
    ],
)
def test_merge_keys_are_followed(text: str, merged: dict[str, int]) -> None:
    """What a mapping says itself comes first, then the first of several that are merged."""
    data = read_document(text).data
    assert isinstance(data, dict)
    assert data["b"] == merged


def test_merged_value_has_the_line_where_it_stands() -> None:
    """So that a mistake is looked for in the right place."""
    document = read_document("a: &x\n  p: 1\nb:\n  <<: *x\n  q: 2\n")
    assert (document.line(("b", "p")), document.line(("b", "q"))) == (2, 5)


def test_sections_may_be_merged_from_another_tools_part() -> None:
    """At the top level as anywhere; what is neither said nor a section stays unread."""
    text = "x: &x {grants: [a], other: [b]}\n<<: *x\n"
    document = read_document(text, ["grants"])
    assert document.data == {"x": None, "grants": ["a"], "other": None}


@pytest.mark.parametrize(
    ("text", "line", "field", "remedy"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a", '"a" is said twice; keep one'),
        ("x:\n  a: 1\n  a: 1\n", 3, "x.a", '"a" is said twice; keep one'),
        ("a: &x [*x]\n", 1, "a[0]", "refers to itself"),
        ("a: &x {b: 1, <<: *x}\n", 1, "a", "refers to itself"),
        ("a: &x {<<: {<<: *x}}\n", 1, "a", "refers to itself"),
        ("a:\n  <<: 1\n", 2, "a", "merges (<<) what is not a mapping"),
        ("a:\n  <<: [{b: 1}, c]\n", 2, "a", "merges (<<) what is not a mapping"),
        ("a:\n  ? [b, c]\n  : 1\n", 2, "a", "has a key that is not plain text"),
        ("a:\n  - 1\n  - !custom text\n", 3, "a[1]", "cannot be read; put the text in quotes"),
    ],
)
def test_what_agent_yaml_cannot_mean_is_a_mistake(
    text: str, line: int, field: str, remedy: str
) -> None:
    """With its line, its path and what would be right."""
    (problem,) = problems_of(text)
    assert (problem.line, problem.place, problem.message) == (line, field, remedy)


def test_all_such_mistakes_are_found_at_once() -> None:
    """None hides another."""
    assert [p.line for p in problems_of("a: 1\na: 2\nb: !x y\n? [c]\n: 1\n")] == [2, 3, 4]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"grants: [anthropic\nkey: {SECRET}\n", 2),
        (f'a: "{SECRET}', 1),
        (f"a: b\n{SECRET}\n", 3),
        (f"a: b: {SECRET}\n", 1),
        (f"a: *{SECRET}\n", 1),
        (f"a:\n\t{SECRET}: 1\n", 2),
        (f"a: @{SECRET}\n", 1),
        (f"a: `{SECRET}`\n", 1),
        (f'a: "\\q{SECRET}"\n', 1),
        (f"- {SECRET}\nb: 1\n", 2),
        (f"a: 1\n---\n{SECRET}: 1\n", 2),
        (f"a: !<{SECRET}\n", 2),
        (f"%{SECRET}\n---\n%YAML 3.0\n", 3),
        (f"a: !sk!{SECRET} x\n", 1),
        (f"a: &{SECRET}% x\n", 1),
    ],
)
def test_errors_of_yaml_have_a_line_and_quote_nothing(text: str, line: int) -> None:
    """PyYAML shows the text around a mistake, which may be the key itself."""
    (problem,) = problems_of(text)
    assert problem.message.startswith("is not valid YAML")
    assert abs(problem.line - line) <= 1
    error = ConfigurationError([problem])
    assert SECRET not in f"{problem} {error} {error!r} {error.explain()}"
    assert "ant-api03" not in str(error)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a:\n\t- b\n", 2, "(column 1: found a tab; indent with spaces)"),
        (
            "grants: [anthropic\nclaude: {base_url: x}\n",
            2,
            "(column 7: expected ',' or ']', while parsing a flow sequence that begins on line 1)",
        ),
        (
            "a: {b: 1\n",
            2,
            "(column 1: expected ',' or '}', while parsing a flow mapping that begins on line 1)",
        ),
        ("a: b: c\n", 1, "(column 5: mapping values are not allowed here)"),
        (
            'a: "b\n',
            2,
            (
                "(column 1: found unexpected end of stream, "
                "while scanning a quoted scalar that begins on line 1)"
            ),
        ),
        (
            "a: 1\nb\nc: 2\n",
            3,
            (
                "(column 1: could not find expected ':', "
                "while scanning a simple key that begins on line 2)"
            ),
        ),
        (
            "a:\n  - b\n c: 1\n",
            3,
            (
                "(column 2: expected <block end>; "
                "the indentation is wrong, or a text follows what is complete)"
            ),
        ),
        (
            "a: @b\n",
            1,
            "(column 4: found character that cannot start any token; put the text in quotes)",
        ),
        ("a: *b\n", 1, "(column 4: found undefined alias)"),
        (
            "a: &x 1\nb: &x 2\n",
            2,
            "(column 4: found duplicate anchor; first occurrence, second occurrence)",
        ),
        (
            "a: 1\n---\nb: 2\n",
            2,
            "(column 1: expected a single document in the stream, but found another document)",
        ),
        (
            'a: "\\q"\n',
            1,
            (
                "(column 6: found unknown escape character, "
                "while scanning a double-quoted scalar that begins on line 1)"
            ),
        ),
    ],
)
def test_errors_of_yaml_say_what_and_where(text: str, line: int, said: str) -> None:
    """The parser's own reason with its column, and where began what it was reading."""
    (problem,) = problems_of(text)
    assert (problem.line, problem.message) == (line, f"is not valid YAML {said}")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\ufffe"])
def test_control_characters_are_a_mistake(character: str) -> None:
    """They come from a terminal's paste, and YAML allows none."""
    (problem,) = problems_of(f"a: {SECRET}{character}\n")
    assert problem.message == "is not valid YAML"


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 100_000,
        "[" * 101 + "]" * 101,
        "{a: " * 100_000,
        "- " * 100 + "a",
        "".join(f"{' ' * depth}a:\n" for depth in range(100)),
    ],
    ids=["unclosed", "brackets", "braces", "dashes", "indents"],
)
def test_nesting_has_an_end(text: str) -> None:
    """No configuration needs it, and it is no reason for a traceback, nor for a long wait."""
    (problem,) = problems_of(text)
    assert problem.message == "is nested too deeply"


def test_error_does_not_carry_the_text_along() -> None:
    """Neither as a cause nor as a context that a traceback would print."""
    with pytest.raises(ConfigurationError) as caught:
        read_document(f'a: "{SECRET}')
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("base_url", '"base_url"'),
        ("$RELAY_LISTEN", '"$RELAY_LISTEN"'),
        (3, "3"),
        (SECRET, "<not shown>"),
        ("sk-short", "<not shown>"),
        ("a key", "<not shown>"),
        ("a/b", '"a/b"'),
        ("a/f3b07c2e81d4a65b", "<not shown>"),
        ("a" * 41, "<not shown>"),
        ("a" * 40, '"' + "a" * 40 + '"'),
        ("k\xe9y", "<not shown>"),
        ("", "<not shown>"),
    ],
)
def test_key_is_shown_only_if_it_looks_like_one(key: str | int, text: str) -> None:
    """A secret pasted in front of a colon becomes a key."""
    assert shown(key) == text


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "sk-ant-oat01-Kp4Wz8Jr1Td6",
        "sk-proj-Tn5Bv9Ck2Mz7Xj4L",
        f"folder/{SECRET}",
        f"my{SECRET[2:]}",
        "relay-V3b8Yt1Nq6Lk9Xw4Rz7Cj2Hm5Pf0Sd",
        "relay-vKqWzTbNcXdRfGhJ_MpLsQyUeIaOw-BkVtZnHxCgDrF",
        "AIzaSyD4u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4",
        "ghp_u8Qm2Lx7Vt0RcY5dWk1Zp9Hs3Nf6Bj4Gg",
        "xoxb-123456789012-abcdefghijkl",
        "3f2a9c1b7d8e4f60a1b2c3d4e5f60718",
    ],
)
def test_what_looks_like_a_secret_is_taken_for_one(text: str) -> None:
    """Wherever a name or a path is expected."""
    assert looks_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "anthropic", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "agent-1.internal_name"),
        *("/run/secrets/anthropic_api_key", "/nix/store/0c4h1n2a9p3m8qk5x7z6w1v4/bin/pass"),
        *("~/.claude/.credentials.json", "claudeAiOauth.accessToken", "task-runner", "desk-lamp"),
        *("averyveryverylongnameindeed", "2025-04-20", "12345678901234567890"),
    ],
)
def test_names_and_paths_do_not_look_like_secrets(text: str) -> None:
    """Nobody should have to rename what is innocent."""
    assert not looks_secret(text)


def test_problem_is_explained_with_file_line_field_and_remedy() -> None:
    """Sorted by line, as one reads the file."""
    error = ConfigurationError(
        [
            Problem(7, ("relays", "openai", "url"), "is required"),
            Problem(2, ("clients", 0, "name"), "is required"),
            Problem(1, (), "is empty"),
            Problem(7, ("relays", SECRET, 1, "a"), "is required"),
        ],
        "/etc/relay/agent.yaml",
    )
    assert error.explain() == [
        "/etc/relay/agent.yaml:1: is empty",
        "/etc/relay/agent.yaml:2: clients[0].name: is required",
        "/etc/relay/agent.yaml:7: relays.<not shown>[1].a: is required",
        "/etc/relay/agent.yaml:7: relays.openai.url: is required",
    ]
    assert str(error) == "\n".join(error.explain())


def test_nearest_key_is_suggested_or_all_are_named() -> None:
    """Without repeating the key that was wrong."""
    assert suggest("idel", ["idle", "write"]) == 'is an unknown key; did you mean "idle"?'
    assert suggest(SECRET, ["b", "a"]) == "is an unknown key; known here: a, b"


def test_document_does_not_show_its_lines() -> None:
    """Their paths are keys, which may be secrets."""
    assert SECRET not in repr(Document(None, {(SECRET,): 1}))
