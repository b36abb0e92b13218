"""``relay doctor`` and the upstream: each step, each mistake, and nothing that costs or leaks."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from relay.commands.doctor import path
from relay.upstream.dial import AddressInfo, Dialer
from tests.harness.certificates import Authority, Certificate
from tests.harness.secrets import CUSTOM_KEY, KEY, OAUTH, OPENAI_KEY, SECRETS
from tests.harness.upstream import Upstream, running_upstream
from tests.integration.diagnosis import Diagnosis, answer, api, diagnosed, host, listening, openly

pytestmark = [pytest.mark.asyncio_loop, pytest.mark.usefixtures("short_limits")]

WELL = api(models=answer())


async def test_all_is_well(upstream: Upstream, tmp_path: Path) -> None:
    """Each step in order, with what it saw; warnings do not make it fail."""
    upstream.answer_with(WELL)
    diagnosis = await diagnosed(tmp_path, openly(upstream.port))
    lines = [str(each) for each in diagnosis.found if each.section.startswith("relay ")]
    assert [re.sub(r"\d+(\.\d+)? ms", "N ms", line) for line in lines] == [
        f"ok grant: anthropic is there, from {tmp_path}/key -> ",
        f"ok connect: 127.0.0.1:{upstream.port} in N ms -> ",
        "ok path: GET /v1/models: 200 in N ms -> ",
        "ok credential: accepted; 1 model -> ",
        "note stream: not checked: it costs up to 100 tokens -> relay doctor --stream",
    ]
    assert diagnosis.levels["running"] == "warn"
    assert diagnosis.status == 0


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("2999-01-15T08:00:00Z", "ok grant: anthropic is there, from {}, until {} -> "),
        ("2020-01-15T08:00:00Z", "FAIL grant: anthropic is MISSING: {} ended at {} -> {}"),
    ],
)
async def test_it_says_until_when_a_credential_lasts(
    upstream: Upstream, tmp_path: Path, end: str, said: str
) -> None:
    """Or that it has ended, and who renews it."""
    upstream.answer_with(WELL)
    (tmp_path / "key").write_text(json.dumps({"value": KEY, "expires_at": end}))
    diagnosis = await diagnosed(tmp_path, openly(upstream.port))
    moment = f"{end[:10]} 08:00:00 UTC"
    expected = said.format(f"{tmp_path}/key", moment, "have it renewed by what it is from")
    assert expected in [str(each) for each in diagnosis.found]


async def test_it_asks_only_what_is_free(upstream: Upstream, tmp_path: Path) -> None:
    """The list of models, with the credential; and who is there, without."""
    upstream.answer_with(WELL)
    await diagnosed(tmp_path, openly(upstream.port))
    stranger, asked = upstream.requests
    assert stranger.start == b"GET /livez HTTP/1.1"
    assert not any(secret in repr(stranger) for secret in SECRETS)
    assert asked.start == b"GET /v1/models HTTP/1.1"


@pytest.mark.parametrize(
    ("grant", "header", "value", "others"),
    [
        ({"name": "anthropic", "source": {"file": "key"}}, "x-api-key", KEY, {}),
        (
            {"name": "claude", "source": {"file": "oauth"}},
            "authorization",
            f"Bearer {OAUTH}",
            {"anthropic-beta": b"oauth-2025-04-20", "anthropic-version": b"2023-06-01"},
        ),
        (
            {"name": "openai", "source": {"file": "openai_key"}},
            "authorization",
            f"Bearer {OPENAI_KEY}",
            {},
        ),
        (
            {
                "name": "corp",
                "source": {"file": "custom_key"},
                "header": "X-Corp-Key",
                "format": "Key {}",
                "add": {"x-corp-team": "agents"},
            },
            "x-corp-key",
            f"Key {CUSTOM_KEY}",
            {"x-corp-team": b"agents"},
        ),
    ],
)
async def test_the_credential_goes_as_in_a_call(
    upstream: Upstream,
    tmp_path: Path,
    grant: dict[str, Any],
    header: str,
    value: str,
    others: dict[str, bytes],
) -> None:
    """By the grant's own rules, below the URL's path."""
    upstream.answer_with(WELL)
    url = f"http://127.0.0.1:{upstream.port}/gate"
    relays = {"r": {"url": url, "grant": grant["name"]}}
    config = openly(upstream.port, grants=[grant], claude=None, relays=relays)
    assert (await diagnosed(tmp_path, config)).levels["credential"] == "ok"
    asked = upstream.requests[-1]
    assert asked.target == b"/gate/v1/models"
    assert asked.values(header) == [value.encode()]
    assert sum(secret in repr(asked) for secret in SECRETS) == 1
    for name, expected in others.items():
        assert asked.values(name) == [expected]


@pytest.mark.parametrize(
    ("played", "expected"),
    [
        (
            answer(401, {"error": {"type": "authentication_error"}}),
            "FAIL credential: refused: 401, authentication_error -> make another key",
        ),
        (answer(403, {}), "FAIL credential: refused: 403 -> the credential may not do this"),
        (
            answer(302, b"", "location: https://login.corp/x?next=1"),
            "FAIL path: .* 302, a redirect to https://login.corp/x; .* -> use",
        ),
        (
            answer(200, b"<html>", kind="text/html; charset=utf-8"),
            "FAIL path: .* a web page: .* -> correct the relay's URL",
        ),
        (answer(200, {"hello": 1}), "FAIL path: .* no list of models"),
        (answer(200, b"[" * 100_000), "FAIL path: .* no list of models"),
        (
            answer(429, {"error": {"type": "rate_limit_error"}}),
            "warn path: .* a rate limit, rate_limit_error -> wait",
        ),
        (answer(529, {"error": {"type": "overloaded_error"}}), "warn path: .* overloaded -> wait"),
        (answer(500, b"x"), "FAIL path: GET /v1/models: 500 -> the upstream has a fault"),
        (answer(418, b"x"), "FAIL path: GET /v1/models: 418 -> look at the upstream's log"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "FAIL path: .* does not speak HTTP/1.1 -> .* another service's",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "FAIL path: .* does not answer within"),
        (b"", "FAIL path: .* takes the connection and does not answer within .* -> look"),
    ],
)
async def test_each_answer_is_judged(
    upstream: Upstream, tmp_path: Path, played: bytes, expected: str
) -> None:
    """What is wrong in one line, and what to do."""
    upstream.answer_with(played)
    diagnosis = await diagnosed(tmp_path, openly(upstream.port))
    lines = [str(each) for each in diagnosis.found]
    assert any(re.match(expected, line) for line in lines), lines
    assert diagnosis.status == (1 if expected.startswith("FAIL") else 0)
    assert not diagnosis.of("stream")


async def test_an_answer_that_breaks_off_is_named(upstream: Upstream, tmp_path: Path) -> None:
    """It is another fault than none at all."""
    with_end = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\nx"
    upstream.answer_with(with_end)
    diagnosis = await diagnosed(tmp_path, openly(upstream.port))
    assert "breaks off in the middle" in diagnosis.the("path").text


@pytest.mark.parametrize(
    ("grant", "file", "secret", "remedy"),
    [
        ("anthropic", "key", OAUTH, "it is a subscription's token: use grants: [claude]"),
        ("claude", "oauth", KEY, "it is an API key: use grants: [anthropic]"),
        ("openai", "openai_key", KEY, "it is Anthropic's, not OpenAI's"),
        ("claude", "oauth", OAUTH, "it may have expired: make another with `claude setup-token`"),
    ],
)
async def test_a_refused_credential_may_be_of_another_kind(
    upstream: Upstream, tmp_path: Path, grant: str, file: str, secret: str, remedy: str
) -> None:
    """Its beginning tells; nothing of it is shown."""
    (tmp_path / file).write_text(secret)
    upstream.answer_with(answer(401, {}))
    url = f"http://127.0.0.1:{upstream.port}"
    relays = {"r": {"url": url, "grant": grant}}
    grants = [{"name": grant, "source": {"file": file}}]
    diagnosis = await diagnosed(
        tmp_path, openly(upstream.port, grants=grants, claude=None, relays=relays)
    )
    assert diagnosis.the("credential").remedy.startswith(remedy)
    looks = [each.text for each in diagnosis.of("grant") if each.level == "warn"]
    assert bool(looks) == (secret is not OAUTH or grant == "anthropic")


@pytest.mark.parametrize(
    ("prefix", "messages", "level", "says"),
    [
        ("", 400, "warn", "there is no /v1/models, but /v1/messages is there"),
        ("", 404, "FAIL", "correct the path in the relay's URL"),
        ("/v1", 404, "FAIL", "leave /v1 out of the relay's URL: agents send it"),
        ("", 401, "FAIL", "make another credential"),
    ],
)
async def test_without_a_list_of_models_an_empty_message_tells(
    upstream: Upstream, tmp_path: Path, prefix: str, messages: int, level: str, says: str
) -> None:
    """One that no model ever hears of."""
    upstream.answer_with(api(messages=answer(messages, {})))
    claude = {"base_url": f"http://127.0.0.1:{upstream.port}{prefix}"}
    diagnosis = await diagnosed(tmp_path, openly(upstream.port, claude=claude))
    assert upstream.requests[-1].start == f"POST {prefix}/v1/messages HTTP/1.1".encode()
    assert upstream.requests[-1].body == b"{}"
    (found,) = diagnosis.of("path") + diagnosis.of("credential")
    assert found.level == level
    assert says in str(found)


async def test_what_an_upstream_says_is_made_harmless(upstream: Upstream, tmp_path: Path) -> None:
    """No secret that it repeats, and nothing that a terminal acts on."""
    upstream.answer_with(answer(302, b"", f"location: http://h/{KEY}\x9b31m"))
    found = (await diagnosed(tmp_path, openly(upstream.port))).the("path")
    assert "http://h/[redacted]??31m" in found.text
    (tmp_path / "key").write_text("gw_live_9fK2mV7xQ4tB8nR1cZ6yH3wL5dJ0pS")
    upstream.answer_with(answer(401, {"error": {"type": CUSTOM_KEY}}))
    found = (await diagnosed(tmp_path, openly(upstream.port))).the("credential")
    assert "refused: 401, [redacted]" in found.text


async def test_what_goes_into_further_headers_is_harmless_too(
    upstream: Upstream, tmp_path: Path
) -> None:
    """All that the grant's source gives is secret, and not its first field alone."""
    (tmp_path / "login").write_text(json.dumps({"token": KEY, "account": "tenant-of-mine"}))
    headers = {"authorization": "Bearer {token}", "x-account": "{account}"}
    grant = {"name": "corp", "source": {"file": "login"}, "headers": headers}
    relays = {"r": {"url": f"http://127.0.0.1:{upstream.port}", "grant": "corp"}}
    config = openly(upstream.port, grants=[grant], claude=None, relays=relays)
    upstream.answer_with(answer(302, b"", "location: http://h/tenant-of-mine"))
    found = (await diagnosed(tmp_path, config)).the("path")
    assert "http://h/[redacted]" in found.text


async def test_a_missing_credential_does_not_hide_the_rest(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The way is tried as far as it needs none."""
    upstream.answer_with(WELL)
    grants = [{"name": "anthropic", "source": {"file": "nowhere"}}]
    diagnosis = await diagnosed(tmp_path, openly(upstream.port, grants=grants))
    assert diagnosis.the("grant").level == "FAIL"
    assert diagnosis.the("grant").remedy == f"write {tmp_path}/nowhere"
    assert diagnosis.the("connect").level == "ok"
    assert not diagnosis.of("path")
    assert [each.target for each in upstream.requests] == [b"/livez"]


# The way there


async def test_nobody_listens(closed_port: int, tmp_path: Path) -> None:
    """What depends on it is not tried."""
    diagnosis = await diagnosed(tmp_path, openly(closed_port))
    found = diagnosis.the("connect")
    assert found.text == f"nothing listens at 127.0.0.1:{closed_port}"
    assert found.remedy.startswith("start what should listen there (Headroom: headroom proxy)")
    assert diagnosis.status == 1
    assert not diagnosis.of("path")
    assert not diagnosis.of("headroom")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"proc__sys__kernel__osrelease": "6.10.14-linuxkit\n"}, "Enable host networking"),
        ({".dockerenv": "", "proc__net__dev": "a\nb\n lo: 0\n eth0: 0"}, "network_mode: host"),
        ({".dockerenv": "", "proc__net__dev": "a\nb\n docker0: 0"}, "headroom proxy"),
    ],
)
async def test_localhost_may_be_another_than_is_thought(
    closed_port: int, tmp_path: Path, files: dict[str, str], says: str
) -> None:
    """In Docker Desktop, and in a container with a network of its own."""
    host(tmp_path, **files)
    assert says in (await diagnosed(tmp_path, openly(closed_port))).the("connect").remedy


async def test_something_listens_at_another_address(closed_port: int, tmp_path: Path) -> None:
    """That is seen in the kernel's table."""
    host(tmp_path, proc__net__tcp=listening(("172.17.0.1", closed_port)))
    found = (await diagnosed(tmp_path, openly(closed_port))).the("connect")
    assert found.text.endswith(f"but at 172.17.0.1:{closed_port}")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TimeoutError(), "does not answer within 1 s -> a firewall drops it"),
        (OSError(errno.EHOSTUNREACH, ""), "no route to host -> look at the address"),
        (OSError(), "no way there -> look at the address"),
    ],
)
async def test_no_connection_for_other_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, says: str
) -> None:
    """Dropped and unroutable are not refused."""

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(path, "connect_any", fail)
    found = (await diagnosed(tmp_path, openly(1))).the("connect")
    assert says in str(found)


async def test_headroom_of_the_stack_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is nobody's without the profile that starts it."""

    async def resolve(_: Dialer) -> list[AddressInfo]:
        return list(socket.getaddrinfo("10.84.86.2", 8787))

    async def fail(*_: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "")

    monkeypatch.setattr(Dialer, "resolve", resolve)
    monkeypatch.setattr(path, "connect_any", fail)
    claude = {"base_url": "http://headroom:8787"}
    found = (await diagnosed(tmp_path, openly(1, claude=claude))).the("connect")
    assert found.text == "headroom:8787: no route to host"
    assert "docker compose --profile headroom up -d" in found.remedy


async def test_a_name_that_does_not_resolve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the last step."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    claude = {"base_url": "http://headroom.internal:8787"}
    diagnosis = await diagnosed(tmp_path, openly(1, claude=claude))
    assert diagnosis.the("name").text == "headroom.internal does not resolve to an address"
    assert diagnosis.status == 1
    assert not diagnosis.of("connect")


async def diagnosed_at(
    addresses: list[str], upstream: Upstream, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Diagnosis:
    """Examine a relay whose upstream is well, and whose upstream's name has these addresses."""

    async def resolve(_: Dialer) -> list[AddressInfo]:
        rows = [socket.getaddrinfo(host, upstream.port)[0] for host in addresses]
        return list(rows)

    monkeypatch.setattr(Dialer, "resolve", resolve)
    upstream.answer_with(WELL)
    claude = {"base_url": f"http://localhost:{upstream.port}"}
    return await diagnosed(folder, openly(upstream.port, claude=claude))


async def test_every_address_of_a_name_is_tried(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the relay does: localhost may be another address first, where nobody listens."""
    addresses = ["127.0.0.9", "127.0.0.1"]
    diagnosis = await diagnosed_at(addresses, upstream, tmp_path, monkeypatch)
    assert diagnosis.the("name").text == "localhost is 127.0.0.9, 127.0.0.1"
    assert diagnosis.the("connect").text.startswith("127.0.0.1:")
    assert diagnosis.the("credential").level == "ok"


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private CA."""
    return Authority(tmp_path_factory.mktemp("tls"))


async def diagnosed_over_tls(
    folder: Path, certificate: Certificate, ca_file: Path | None
) -> tuple[Diagnosis, Upstream]:
    """Diagnose a relay whose upstream shows this certificate."""
    async with running_upstream(certificate.context()) as upstream:
        upstream.answer_with(WELL)
        url = f"https://127.0.0.1:{upstream.port}"
        relays = {"anthropic": {"url": url, "grant": "anthropic"}}
        if ca_file:
            relays["anthropic"]["ca_file"] = str(ca_file)
        config = openly(upstream.port, claude=None, relays=relays)
        return await diagnosed(folder, config), upstream


async def test_tls_with_a_private_ca(tmp_path: Path, authority: Authority) -> None:
    """The whole way."""
    certificate = authority.issue("good", "IP:127.0.0.1")
    diagnosis, _ = await diagnosed_over_tls(tmp_path, certificate, authority.file)
    assert diagnosis.the("tls").text == "TLSv1.3, and the certificate is 127.0.0.1's"
    assert diagnosis.the("credential").level == "ok"


@pytest.mark.parametrize(
    ("name", "address", "trusted", "says"),
    [
        ("expired", "127.0.0.1", True, "has expired -> renew it"),
        ("wrong", "127.0.0.2", True, "is for another address -> use the name"),
        ("stranger", "127.0.0.1", False, "is not known -> name the CA's certificate"),
    ],
)
async def test_each_fault_of_a_certificate_is_named(
    tmp_path: Path,
    authority: Authority,
    name: str,
    address: str,
    trusted: bool,
    says: str,
) -> None:
    """And nothing is sent to whoever shows it."""
    certificate = authority.issue(name, f"IP:{address}", expired=name == "expired")
    ca_file = authority.file if trusted else None
    diagnosis, upstream = await diagnosed_over_tls(tmp_path, certificate, ca_file)
    assert says in str(diagnosis.the("tls"))
    assert diagnosis.status == 1
    assert upstream.requests == []


async def test_https_where_http_is_spoken(upstream: Upstream, tmp_path: Path) -> None:
    """The scheme is named, and no request is made."""
    relays = {"anthropic": {"url": f"https://127.0.0.1:{upstream.port}", "grant": "anthropic"}}
    config = openly(upstream.port, claude=None, relays=relays)
    diagnosing = asyncio.create_task(diagnosed(tmp_path, config))
    caller = await upstream.accepted()
    assert (await caller.some())[0] == 0x16
    await caller.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    diagnosis = await diagnosing
    assert "no TLS is spoken there -> use http://" in str(diagnosis.the("tls"))
    assert len(upstream.callers) == 1


async def test_a_connection_that_ends_at_a_tls_hello(upstream: Upstream, tmp_path: Path) -> None:
    """As of a server that drops what it cannot read."""
    relays = {"anthropic": {"url": f"https://127.0.0.1:{upstream.port}", "grant": "anthropic"}}
    config = openly(upstream.port, claude=None, relays=relays)
    diagnosing = asyncio.create_task(diagnosed(tmp_path, config))
    (await upstream.accepted()).reset()
    found = (await diagnosing).the("tls")
    assert "ends the connection at a TLS hello -> if no TLS is spoken there, use http" in str(found)


async def test_silence_at_a_tls_hello(upstream: Upstream, tmp_path: Path) -> None:
    """As of a server that waits for the end of a request's head."""
    relays = {"anthropic": {"url": f"https://127.0.0.1:{upstream.port}", "grant": "anthropic"}}
    config = openly(upstream.port, claude=None, relays=relays)
    found = (await diagnosed(tmp_path, config)).the("tls")
    assert "does not answer a TLS hello" in found.text
    assert "http://" in found.remedy


async def test_http_where_tls_is_spoken(tmp_path: Path, authority: Authority) -> None:
    """The scheme is named."""
    certificate = authority.issue("plain", "IP:127.0.0.1")
    async with running_upstream(certificate.context()) as upstream:
        found = (await diagnosed(tmp_path, openly(upstream.port))).the("path")
    assert (found.level, found.remedy) == ("FAIL", "use https:// in the relay's URL")


async def test_a_credential_in_clear_beyond_loopback_is_warned_of(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is on the way can read it."""
    addresses = ["127.0.0.1", "192.0.2.7"]
    diagnosis = await diagnosed_at(addresses, upstream, tmp_path, monkeypatch)
    assert diagnosis.the("tls").text == "the credential goes to localhost unencrypted"
    assert (diagnosis.levels["tls"], diagnosis.status) == ("warn", 0)
