"""Which grant serves which relay, and what a custom one may do."""

from pathlib import Path

import pytest

from relay.config import BUILT_IN_GRANTS, FurtherHeader
from tests.unit.config.documents import SHORT, mistakes, read, relay_with


def test_shorthand_and_a_relay_of_its_name_are_one(file: Path) -> None:
    """``relays.anthropic`` adds to what ``claude.base_url`` says."""
    text = SHORT + "relays: {anthropic: {max_body: 5}}\n"
    (relay,) = read(file, text).relays
    assert (relay.max_body, relay.upstream.port) == (5, 8787)
    same = SHORT + "relays: {anthropic: {url: http://localhost:8787}}\n"
    assert len(read(file, same).relays) == 1


def test_with_two_fitting_grants_one_must_be_chosen(file: Path) -> None:
    """An API key and a subscription are billed differently: nothing is guessed."""
    both = SHORT.replace("[anthropic]", "[anthropic, claude]")
    (mistake,) = mistakes(file, both)
    assert "claude.base_url: more than one declared grant fits" in mistake
    assert "choose in claude.grant: anthropic or claude" in mistake
    for chosen in ("  grant: claude\n", "relays: {anthropic: {grant: claude}}\n"):
        assert [relay.grant.name for relay in read(file, both + chosen).relays] == ["claude"]


def test_claudes_grant_is_that_of_the_relay_it_stands_for(file: Path) -> None:
    """With the relay's URL beside it or below ``relays``; a custom one too."""
    grants = "grants: [anthropic, claude, {name: corp, source: {env: A}, header: X-Key}]\n"
    relays = "relays: {anthropic: {url: http://h}}\n"
    for grant in ("claude", "corp"):
        (relay,) = read(file, f"{grants}claude: {{grant: {grant}}}\n{relays}").relays
        assert (relay.name, relay.grant.name) == ("anthropic", grant)
        (relay,) = read(file, f"{grants}claude: {{grant: {grant}, base_url: http://h}}\n").relays
        assert (relay.name, relay.grant.name) == ("anthropic", grant)


def test_grant_may_be_left_out_where_one_fits(file: Path) -> None:
    """By the relay's API, where that is given."""
    text = relay_with("api: openai", "[anthropic, openai]")
    assert [relay.grant.name for relay in read(file, text).relays] == ["openai"]
    text = relay_with("api: anthropic", "[claude, openai]")
    assert [relay.grant.name for relay in read(file, text).relays] == ["claude"]
    (mistake,) = mistakes(file, relay_with("max_body: 5", "[anthropic, openai]"))
    assert (
        "more than one declared grant fits; choose in relays.<name>.grant: anthropic or openai"
        in mistake
    )


def test_custom_grant_serves_alone_or_where_it_is_named(file: Path) -> None:
    """It never slips in beside a built-in one."""
    custom = "{name: gateway, source: {env: A}, header: X-Key}"
    alone = relay_with("max_body: 5", f"[{custom}]")
    assert [relay.grant.name for relay in read(file, alone).relays] == ["gateway"]
    beside = relay_with("max_body: 5", f"[anthropic, {custom}]")
    assert [relay.grant.name for relay in read(file, beside).relays] == ["anthropic"]
    named = relay_with("grant: gateway, api: openai", f"[anthropic, {custom}]")
    (relay,) = read(file, named).relays
    assert (relay.grant.name, relay.api) == ("gateway", "openai")


@pytest.mark.parametrize(
    ("headers", "first", "further"),
    [
        (
            '{authorization: "Bearer {access_token}", chatgpt-account-id: "{account_id}"}',
            FurtherHeader(b"authorization", "access_token", b"Bearer "),
            [FurtherHeader(b"chatgpt-account-id", "account_id")],
        ),
        (
            '{X-Account: "id={a.b};", X-Api-Key: "{}"}',
            FurtherHeader(b"X-Api-Key", ""),
            [FurtherHeader(b"X-Account", "a.b", b"id=", b";")],
        ),
        ('{X-One: "{one}"}', FurtherHeader(b"X-One", "one"), []),
    ],
)
def test_one_source_can_fill_several_headers(
    file: Path, headers: str, first: FurtherHeader, further: list[FurtherHeader]
) -> None:
    """The first is the one that APIs read a credential from, in whatever order they stand."""
    custom = f"{{name: gateway, source: {{file: /x}}, headers: {headers}}}"
    (grant,) = read(file, relay_with("max_body: 5", f"[{custom}]")).grants
    own = FurtherHeader(grant.header, grant.field, grant.prefix, grant.suffix)
    assert (own, list(grant.further)) == (first, further)
    assert grant.fields == (first.field, *(each.field for each in further))


def test_custom_grant_does_not_serve_the_shorthand_unnamed(file: Path) -> None:
    """``claude.base_url`` means an Anthropic credential unless told otherwise."""
    custom = "{name: gateway, source: {env: A}, header: X-Key}"
    text = SHORT.replace("[anthropic]", f"[{custom}]")
    assert mistakes(file, text) == [
        "3: claude.base_url: no declared grant can serve it; declare anthropic or claude in grants"
    ]
    named = text + "relays: {anthropic: {grant: gateway}}\n"
    assert [relay.grant.name for relay in read(file, named).relays] == ["gateway"]


def test_grant_without_a_relay_is_warned_of(file: Path) -> None:
    """It does no harm, yet it is hardly meant."""
    text = relay_with("grant: anthropic", "[anthropic, openai]")
    assert read(file, text).warnings == (f'{file}:1: grants[1]: grant "openai" serves no relay',)


@pytest.mark.parametrize(
    "text",
    [
        *("header: X-Key, format: 'no place'", "header: X-Key, format: '{} {}'"),
        *('header: X-Key, format: "{}\\n"', "header: X Key", "header: Host"),
        *("header: content-length", "header: Transfer-Encoding", "header: Connection"),
        *("header: X-Key, remove: [a b]", "header: X-Key, remove: text"),
        *("header: X-Key, add: {Host: a}", "header: X-Key, add: {a b: c}"),
        *('header: X-Key, add: {X: "a\\r\\nb"}', "header: X-Key, add: {X: \xe4}"),
        *("header: X-Key, add: [X]", "format: 'Key {}'"),
    ],
)
def test_custom_grant_can_break_no_request(file: Path, text: str) -> None:
    """Headers that frame a request, and values that end a line, are refused."""
    grant = f"{{name: gateway, source: {{env: A}}, {text}}}"
    lines = mistakes(file, f"grants:\n  - {grant}\nrelays: {{r: {{url: http://h}}}}\n")
    assert any(line.startswith("2: grants[0]") for line in lines)


def test_custom_grant_needs_a_source_and_a_header(file: Path) -> None:
    """And is told from a misspelt built-in one."""
    known = ", ".join(BUILT_IN_GRANTS)
    for text in ("{name: g, header: X}", "{name: g, source: {env: A}}", "antropic"):
        (line, *_) = mistakes(file, SHORT.replace("[anthropic]", f"[{text}]"))
        assert line == (
            f"1: grants[0]: is none of the built-in grants ({known}); "
            "a custom one needs name, source and header"
        )
