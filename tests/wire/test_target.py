"""Request targets: only clean origin-form paths below /relay/<name>/ that a relay allows."""

from __future__ import annotations

from typing import Final

import pytest

from tests.wire.case import Case, Seen, all_refused, get, refused, relayed, specified
from tests.wire.ends import Ends
from tests.wire.playing import check

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE: Final = b"/relay/anthropic"

FORMS: Final = all_refused(
    {
        f"the target {target!r}": get(target)
        for target in (
            b"http://relay.test/relay/anthropic/v1/models",
            b"HTTP://relay.test/relay/anthropic/v1/models",
            *(b"https://api.anthropic.com/v1/messages", b"http:/relay/anthropic/v1/models"),
            *(b"http:relay/anthropic/v1/models", b"file:///etc/passwd", b"relay.test:80"),
            *(b"relay.test", b"127.0.0.1:8484/relay/anthropic/v1/models", b"*"),
            *(b"*/relay/anthropic/v1/models", b"relay/anthropic/v1/models"),
            *(b"./relay/anthropic/v1/models", b"?x", b"?/relay/anthropic/v1/models", b"#"),
            b";/relay/anthropic/v1/models",
            *(b"\\relay\\anthropic\\v1\\models", b"@relay.test/relay/anthropic/v1/models"),
        )
    },
    reason="target",
)

DOTS: Final = all_refused(
    {
        f"the path {path!r}": get(BASE + path)
        for path in (
            *(b"/v1/messages/..", b"/v1/messages/../", b"/v1/messages/../models", b"/../anthropic/v1/models"),
            *(b"/..", b"/../", b"/../../stats", b"/v1/messages/../../stats", b"/v1/messages/../../../admin/x"),
            *(b"/.", b"/./", b"/v1/./messages", b"/v1/messages/.", b"/./v1/messages", b"/.;/v1/messages"),
            *(b"/v1/messages/%2e%2e/stats", b"/v1/messages/%2E%2E/stats", b"/v1/messages/%2e%2E/stats"),
            *(b"/v1/messages/.%2e/stats", b"/v1/messages/%2e./stats", b"/v1/messages/.%2E", b"/v1/messages/%2E."),
            *(b"/v1/messages/%2e", b"/v1/messages/%2E/x", b"/v1/messages/%2e/"),
            *(b"/v1/messages/..%2fstats", b"/v1/messages/..%2Fstats", b"/v1/messages/%2e%2e%2fstats"),
            *(b"/v1/messages/x%2f..%2fstats", b"/v1/messages/x%2f..", b"/v1/messages/x%2F%2E%2E/y"),
            *(b"/v1/messages/..%5cstats", b"/v1/messages/..%5Cstats", b"/v1/messages/%2e%2e%5c"),
            *(b"/v1/messages/x%5c..%5cstats", b"/v1/messages/x%5c..", b"/v1/messages/.%5cx"),
            *(b"/v1/messages/..\\stats", b"/v1/messages\\..\\stats", b"/v1/messages/x\\y", b"/v1\\messages"),
            *(b"/v1/messages\\", b"\\v1/messages", b"/v1/messages/..\\"),
            *(b"/v1/messages/..;/stats", b"/v1/messages/..;x=1/stats", b"/v1/messages/..;", b"/v1/messages/.;/x"),
            *(b"/v1/messages/..%3b/stats", b"/v1/messages/..%3Bx/stats", b"/v1/messages/%2e%2e;/stats"),
            *(b"/v1/messages/%2e%2e%3b/stats", b"/v1/messages/x%2f..;y", b"/v1/messages//../x", b"//../v1/messages"),
            *(b"/v1/messages/..?x", b"/v1/messages/..;?x", b"/v1/messages/%2e%2e?x=/y"),
        )
    },
    reason="target",
) + all_refused(
    {
        f"dots before the relay's name: {target!r}": get(target)
        for target in (b"/relay/../relay/anthropic/v1/models", b"/./relay/anthropic/v1/models", b"/relay/./anthropic", b"/relay/%2e%2e", b"/..", b"/relay/..;/x")
    },
    reason="target",
)  # fmt: skip

BYTES: Final = all_refused(
    {
        f"the path {path!r}": get(BASE + path)
        for path in (
            *(b"/v1/models#", b"/v1/models#x", b"/v1/models?x#y", b"#/v1/models", b"/v1/models/#/x"),
            *(b"/v1/models/%", b"/v1/models/%2", b"/v1/models/%zz", b"/v1/models/%2g", b"/v1/models/%%20"),
            *(b"/v1/models/%u002e", b"/v1/models/%-1", b"/v1/models/%+1", b"/v1/models/% "[:-1]),
            *(b"/v1/models/%00", b"/v1/models%00", b"/v1/models/%0a", b"/v1/models/%0D%0A", b"/v1/models/%09"),
            *(b"/v1/models/%1f", b"/v1/models/%1F", b"/v1/models/%7f", b"/v1/models/%7F", b"/v1/models/x%00.json"),
            *(b"/v1/models/%0d%0ax-api-key:%20x", b"/v1/models/%08", b"/v1/models/%1b[0m"),
        )
    },
    reason="target",
) + all_refused(
    {
        f"the path {path!r}": get(BASE + path)
        for path in (
            *(b"/v1/models/\xc3\xa9", b"/v1/models/\xff", b"/v1/models?\xc3\xa9", b"/v1/models/\xa0"),
            *(b"/v1/models/\x00", b"/v1/models/\x1f", b"/v1/models/\x7f", b"/v1/models/\t", b"/v1/models?\x01"),
            *(b"/v1/models/\xef\xbc\x8e\xef\xbc\x8e/x", b"/v1/models/\x0b", b"/v1/models/\x0c", b"/v1/models/\x1b"),
        )
    },
)  # fmt: skip

UNKNOWN: Final = all_refused(
    {
        f"the target {target!r}": get(target)
        for target in (
            *(b"/", b"//", b"/relay", b"/relay/", b"/relay//", b"/relay//anthropic/v1/models", b"//relay/anthropic/v1/models"),
            *(b"/Relay/anthropic/v1/models", b"/RELAY/anthropic/v1/models", b"/relay/Anthropic/v1/models"),
            *(b"/relay/nobody/v1/models", b"/relay/anthropi/v1/models", b"/relay/anthropicc/v1/models"),
            *(b"/relay%2fanthropic/v1/models", b"/relay/anthropic%2fv1/models", b"/%72elay/anthropic/v1/models"),
            *(b"/relay/%61nthropic/v1/models", b"/relay/anthropic;x/v1/models", b"/relay/anthropic%20/v1/models"),
            *(b"/relay;x/anthropic/v1/models", b"/relay/anthropic@/v1/models", b"/relay/anthropic:80/v1/models"),
            *(b"/relays/anthropic/v1/models", b"/x/relay/anthropic/v1/models", b"/v1/messages", b"/v1/models"),
            *(b"/metrics", b"/healthz", b"/readyz", b"/favicon.ico", b"/?/relay/anthropic/v1/models", b"/relay?/anthropic/v1/models"),
            *(b"/relay/http://evil.test/v1/models", b"/relay/127.0.0.1/v1/models", b"/relay/_/v1/models", b"/relay/...x/v1/models"),
        )
    },
    404,
)  # fmt: skip

NOT_ALLOWED: Final = all_refused(
    {
        f"the path {path!r}": get(BASE + path)
        for path in (
            *(b"/stats", b"/dashboard", b"/admin/x", b"/admin/config", b"/debug/x", b"/debug/pprof", b"/settings"),
            *(b"/cache/clear", b"/v1/retrieve", b"/v1/compress", b"/v1/telemetry", b"/v1/toin", b"/v1/feedback"),
            *(b"/v1/usage", b"/v1/retrieve/x", b"/v1", b"/v1/", b"", b"/", b"//", b"/?x", b"?x", b"/health", b"/livez"),
            *(b"/readyz", b"/v1/chat/completions", b"/v1/responses", b"/v1/embeddings", b"/v1/organizations"),
            *(b"/v1/messagesx", b"/v1/messages%2fx", b"/v1/messages;x", b"/v1/messages%3fx", b"/v1/message"),
            *(b"/v1/Messages", b"/V1/messages", b"/v1/%6dessages", b"/v1%2fmessages", b"/%761/messages", b"/v1/messages%"[:-1] + b"%20"),
            *(b"//v1/messages", b"/v1//messages", b"/x/v1/messages", b"/v1/messages.json", b"/v1/modelsx", b"/v1/completed"),
            *(b"/v1/files-x", b"/http://evil.test/v1/messages", b"/v1?/messages", b"/;/v1/messages", b"/v1;x/messages"),
            *(b"/v1/%2e%252e/stats"[:4] + b"%252e%252e/messages", b"/api/hello/", b"/api/hello/x", b"/api/event_logging/batch"),
        )
    },
    403,
    reason="path",
)  # fmt: skip


def _passes(path: bytes, relay: bytes = b"anthropic", prefix: bytes = b"") -> Case:
    own = () if relay == b"openai" else None
    seen = Seen(method=b"GET", target=prefix + path, body=b"", sized=False, relay=relay, own=own)
    return relayed(f"{relay.decode()} {path!r}", get(b"/relay/" + relay + path), seen)


ALLOWED: Final = [
    _passes(path)
    for path in (
        *(b"/v1/messages", b"/v1/messages/", b"/v1/messages/count_tokens", b"/v1/messages/batches/x/results"),
        *(b"/v1/models", b"/v1/models/claude-opus-4-5", b"/v1/files", b"/v1/files/x/content", b"/v1/complete"),
        *(b"/v1/messages?", b"/v1/messages?beta=true", b"/v1/messages??", b"/v1/messages?a=../..", b"/v1/messages?%2e%2e"),
        *(b"/v1/messages?%zz", b"/v1/messages?%00", b"/v1/messages?a=%0d%0a", b"/v1/messages?a=b&a=c;d", b"/v1/messages?\\"),
        *(b"/v1/messages?http://x/", b"/v1/messages?a=%2520", b"/v1/messages?%", b'/v1/messages?"<>^`{|}', b"/v1/messages?a+b"),
        *(b"/v1/messages/%252e%252e/x", b"/v1/messages/%252e", b"/v1/messages/%25", b"/v1/messages/%20", b"/v1/messages/%2f"),
        *(b"/v1/messages/a%2Fb", b"/v1/messages/a%2fb", b"/v1/messages/%41", b"/v1/messages/%7E", b"/v1/messages/~"),
        *(b"/v1/messages/...", b"/v1/messages/..x", b"/v1/messages/x..", b"/v1/messages/.x", b"/v1/messages/x.", b"/v1/messages/a..b"),
        *(b"/v1/messages//x", b"/v1/messages//", b"/v1/messages/;x", b"/v1/messages/x;y=..", b"/v1/messages/%C3%A9"),
        *(b"/v1/messages/:x@y!$&'()*+,=-_~", b'/v1/messages/"<>[]^`{|}', b"/v1/messages/%c0%af", b"/v1/messages/%80"),
        *(b"/v1/messages/%5c", b"/v1/messages/x%5cy", b"/v1/messages/%2e%2e%2e", b"/v1/messages/%3f", b"/v1/messages/%23"),
    )
] + [
    _passes(b"/v1/messages", b"prefixed", b"/up/stream"),
    _passes(b"/v1/messages/%2f?x=%2f", b"prefixed", b"/up/stream"),
    *(
        _passes(path, b"openai")
        for path in (b"/v1/chat/completions", b"/v1/responses/x", b"/v1/models", b"/v1/embeddings", b"/v1/files")
    ),
]  # fmt: skip

OTHER_RELAYS: Final = [
    refused(f"{relay.decode()} {path!r}", get(b"/relay/" + relay + path), 403, reason="path")
    for relay, path in (
        (b"openai", b"/v1/messages"),
        (b"openai", b"/v1/organization/usage"),
        (b"openai", b"/v1/complete"),
        (b"openai", b"/v1/chat"),
        (b"corp", b"/v1/models"),
        (b"corp", b"/v1/messagesx"),
        (b"prefixed", b"/stats"),
        (b"prefixed", b"/up/stream/v1/messages"),
    )
]


@specified(FORMS, DOTS, BYTES, UNKNOWN, NOT_ALLOWED, ALLOWED, OTHER_RELAYS)
async def test_only_clean_targets_are_relayed(ends: Ends, case: Case) -> None:
    """What is relayed goes byte for byte; what could be resolved differently is refused."""
    await check(ends, case)
