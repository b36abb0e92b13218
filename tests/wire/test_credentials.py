"""Client tokens in, and exactly one credential out."""

from __future__ import annotations

import base64
from typing import Final

import pytest

from tests.harness.secrets import OTHER_TOKEN, TOKEN
from tests.wire.case import Case, Seen, all_refused, get, relayed, request, specified
from tests.wire.ends import CREDENTIAL_LINES, Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

RIGHT: Final = TOKEN.encode()
OTHER: Final = OTHER_TOKEN.encode()
KEY: Final = CREDENTIAL_LINES[b"anthropic"][1]
BASIC: Final = base64.b64encode(b"agent:" + RIGHT)


def with_lines(*lines: bytes) -> bytes:
    """Return a request with these lines in place of a token."""
    return request(token=b"".join(line + b"\r\n" for line in lines))


def key(value: bytes) -> bytes:
    """Return the line of an API key."""
    return b"x-api-key: " + value


def bearer(value: bytes) -> bytes:
    """Return the line of a bearer."""
    return b"Authorization: Bearer " + value


REFUSED: Final = all_refused(
    {
        name: with_lines(*lines)
        for name, lines in {
            "no token": (),
            "a wrong key": (key(b"wrong"),),
            "a wrong bearer": (bearer(b"wrong"),),
            "the credential itself for a key": (key(KEY),),
            "the credential itself for a bearer": (bearer(KEY),),
            "an empty key": (key(b""),),
            "an empty bearer": (bearer(b""),),
            "the word Bearer alone": (b"Authorization: Bearer",),
            "an empty Authorization": (b"Authorization:",),
            "a token that is longer": (key(RIGHT + b"x"),),
            "a token that is shorter": (key(RIGHT[:-1]),),
            "a token in upper case": (key(RIGHT.upper()),),
            "a token in lower case": (key(RIGHT.lower()),),
            "a token twice in one line": (key(RIGHT + b", " + RIGHT),),
            "a token twice in one bearer": (bearer(RIGHT + b"," + RIGHT),),
            "a token in quotes": (key(b'"' + RIGHT + b'"'),),
            "a token in Latin-1": (key(RIGHT + b"\xff"),),
            "a token in UTF-8": (key("tökén".encode()),),
            "a bearer in UTF-8": (bearer("tökén".encode()),),
            "a bearer of one byte beyond ASCII": (bearer(b"\xff"),),
            "a token with a no-break space": (key(RIGHT + b"\xa0"),),
            "a token with a space within": (key(RIGHT[:5] + b" " + RIGHT[5:]),),
            "Basic": (b"Authorization: Basic " + BASIC,),
            "Basic with the token as it is": (b"Authorization: Basic " + RIGHT,),
            "Token": (b"Authorization: Token " + RIGHT,),
            "no scheme": (b"Authorization: " + RIGHT,),
            "Bearer twice": (bearer(b"Bearer " + RIGHT),),
            "Bearer with a tab": (b"Authorization: Bearer\t" + RIGHT,),
            "Bearer without a space": (b"Authorization: Bearer" + RIGHT,),
            "Bearer with an equals sign": (b"Authorization: Bearer=" + RIGHT,),
            "a right bearer and a wrong key": (bearer(RIGHT), key(b"wrong")),
            "a right key and a wrong bearer": (key(RIGHT), bearer(b"wrong")),
            "a wrong key and a right bearer": (key(b"wrong"), bearer(RIGHT)),
            "a right key and an empty bearer": (key(RIGHT), b"Authorization: Bearer"),
            "a right key and Basic": (key(RIGHT), b"Authorization: Basic " + BASIC),
            "a right key and an empty Authorization": (key(RIGHT), b"Authorization:"),
            "a right bearer and an empty key": (bearer(RIGHT), key(b"")),
            "a right key and a wrong second": (key(RIGHT), key(b"wrong")),
            "a wrong key and a right second": (key(b"wrong"), key(RIGHT)),
            "a right key and an empty second": (key(RIGHT), key(b"")),
            "a right bearer and a wrong second": (bearer(RIGHT), bearer(b"wrong")),
            "a wrong bearer and a right second": (bearer(b"wrong"), bearer(RIGHT)),
            "two clients' keys": (key(RIGHT), key(OTHER)),
            "one client's key and the other's bearer": (key(RIGHT), bearer(OTHER)),
            "a right key and the credential": (key(RIGHT), bearer(KEY)),
            "api-key": (b"api-key: " + RIGHT,),
            "x-goog-api-key": (b"x-goog-api-key: " + RIGHT,),
            "x_api_key": (b"x_api_key: " + RIGHT,),
            "xapikey": (b"xapikey: " + RIGHT,),
            "X-Api-Token": (b"X-Api-Token: " + RIGHT,),
            "Proxy-Authorization": (b"Proxy-Authorization: Bearer " + RIGHT,),
            "X-Forwarded-Authorization": (b"X-Forwarded-Authorization: Bearer " + RIGHT,),
            "a cookie": (b"Cookie: x-api-key=" + RIGHT,),
            "a wrong key that Connection names": (key(b"wrong"), b"Connection: x-api-key"),
        }.items()
    },
    401,
) + all_refused(
    {
        f"the query ?{query.decode()}": request(
            start=b"POST /relay/anthropic/v1/messages?" + query + b" HTTP/1.1", token=b""
        )
        for query in (
            *(b"x-api-key=" + RIGHT, b"api_key=" + RIGHT, b"api-key=" + RIGHT, b"key=" + RIGHT),
            *(b"token=" + RIGHT, b"access_token=" + RIGHT, b"authorization=Bearer%20" + RIGHT, RIGHT),
        )
    }
    | {
        "a path that is not allowed": get(b"/relay/anthropic/stats").replace(RIGHT, b"wrong"),
        "a grant without a value": get(b"/relay/keyless/v1/models").replace(RIGHT, b"wrong"),
        "an upstream that is away": get(b"/relay/away/v1/models").replace(RIGHT, b"wrong"),
    },
    401,
)  # fmt: skip

ADMITTED: Final = [
    relayed(name, with_lines(*lines), Seen())
    for name, lines in {
        "a key": (key(RIGHT),),
        "a bearer": (bearer(RIGHT),),
        "a key in upper case": (b"X-API-KEY: " + RIGHT,),
        "authorization in lower case": (b"authorization: bearer " + RIGHT,),
        "BEARER": (b"AUTHORIZATION: BEARER " + RIGHT,),
        "two spaces behind Bearer": (b"Authorization: Bearer  " + RIGHT,),
        "white space around": (b"x-api-key: \t " + RIGHT + b" \t",),
        "key and bearer": (key(RIGHT), bearer(RIGHT)),
        "bearer and key": (bearer(RIGHT), key(RIGHT)),
        "a key twice": (key(RIGHT), key(RIGHT)),
        "a bearer twice": (bearer(RIGHT), bearer(RIGHT)),
        "the other client's key": (key(OTHER),),
        "the other client's key and bearer": (key(OTHER), bearer(OTHER)),
        "a key and what no token is": (
            *(key(RIGHT), b"api-key: x", b"x-goog-api-key: x", b"Cookie: a=b"),
            *(b"Proxy-Authorization: Basic x", b"x_api_key: x"),
        ),
        "a key that Connection names": (key(RIGHT), b"Connection: x-api-key"),
        "a bearer that Connection names": (bearer(RIGHT), b"Connection: Authorization"),
        "a key, and Connection names everything": (
            key(RIGHT),
            b"Connection: x-api-key, authorization, host, content-length, anthropic-version",
        ),
        "a key behind everything": (b"Authorization: Bearer " + RIGHT, b"X-API-Key: " + RIGHT),
    }.items()
]

VERSION: Final = b"anthropic-version: 2023-06-01"
BETA: Final = b"anthropic-beta: oauth-2025-04-20"
OWN: Final = {
    b"anthropic": (VERSION,),
    b"prefixed": (VERSION,),
    b"limited": (VERSION,),
    b"claude": (VERSION, BETA),
    b"openai": (),
    b"corp": (VERSION, b"x-corp-team: agents"),
}
INJECTED: Final = [
    relayed(
        f"{relay.decode()}, and the agent sent {name}",
        request(
            token=b"".join(line + b"\r\n" for line in lines),
            start=b"POST /relay/" + relay + path + b" HTTP/1.1",
        ),
        Seen(relay=relay, own=own, target=prefix + path),
    )
    for relay, own in OWN.items()
    for path in [b"/v1/responses" if relay == b"openai" else b"/v1/messages"]
    for prefix in [b"/up/stream" if relay == b"prefixed" else b""]
    for name, lines in {
        "a key": (key(RIGHT),),
        "a bearer": (bearer(RIGHT),),
        "both": (bearer(RIGHT), key(RIGHT)),
        "every credential there is": (
            *(key(RIGHT), bearer(RIGHT), b"api-key: x", b"x-goog-api-key: x", b"Cookie: x"),
            *(b"X-Corp-Key: x" if relay == b"corp" else b"Cookie2: x", b"Proxy-Authorization: x"),
        ),
        "a Connection that names them all": (
            key(RIGHT),
            b"Connection: x-api-key, authorization, x-corp-key, x-corp-team, host",
        ),
        "the same in upper case": (
            key(RIGHT),
            b"CONNECTION: X-API-KEY, AUTHORIZATION, X-CORP-KEY, X-CORP-TEAM, HOST",
        ),
    }.items()
]
CUSTOM: Final = [
    relayed(
        "corp, and the agent sent what its grant removes and adds",
        request(
            b"X-Corp-User: me\r\nX-CORP-TEAM: mine\r\nX-Corp-Other: stays\r\nContent-Length: 2",
            start=b"POST /relay/corp/v1/messages HTTP/1.1",
        ),
        Seen(relay=b"corp", own=OWN[b"corp"], fields=(b"X-Corp-Other: stays",)),
    )
]


@specified(REFUSED, ADMITTED)
async def test_every_token_that_is_presented_must_be_right(ends: Ends, case: Case) -> None:
    """And at least one must be; whatever an agent presents, it never goes upstream."""
    await check(ends, case)


@specified(INJECTED, CUSTOM)
async def test_upstream_there_is_exactly_one_credential(ends: Ends, case: Case) -> None:
    """It is the configured one, whatever the agent sent, or named in Connection."""
    await check(ends, case)
