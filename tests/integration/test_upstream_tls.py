"""TLS with an upstream, on either event loop: whom the relay trusts, and when an answer ended."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.config import load
from relay.upstream.tls import tls_context
from tests.harness.certificates import CONFORMING, LAX, Authority, Certificate
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.messages import OK, OK_BODY, request
from tests.harness.peer import Caller
from tests.harness.relay import running_relay
from tests.harness.upstream import running_upstream

pytestmark = pytest.mark.both_loops

UNFRAMED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + OK_BODY
LOCAL = "IP:127.0.0.1"


def over_tls(port: int, ca_file: Path) -> Config:
    """Return a configuration whose upstream speaks TLS."""
    url = f"https://127.0.0.1:{port}"
    relay = {"url": url, "grant": "anthropic", "ca_file": str(ca_file)}
    return configuration(port, claude=None, relays={"anthropic": relay})


async def status_with(folder: Path, certificate: Certificate, ca_file: Path) -> int:
    """Return the status of a call to an upstream with this certificate."""
    async with running_upstream(certificate.context()) as upstream:
        upstream.answer_with(OK)
        async with running_relay(folder, over_tls(upstream.port, ca_file)) as relay:
            return (await relay.ask(request())).status


@pytest.mark.parametrize("kind", ["conforming", *LAX])
async def test_a_private_ca_may_be_as_lax_as_curl_takes_it(tmp_path: Path, kind: str) -> None:
    """Python 3.13 asks for extensions that many a company's own CA does not have."""
    authority = Authority(tmp_path, extensions=LAX.get(kind, CONFORMING))
    certificate = authority.issue("good", LOCAL)
    assert await status_with(tmp_path, certificate, authority.file) == 200


@pytest.mark.parametrize("kind", ["conforming", *LAX])
async def test_another_ca_of_the_same_name_is_not_taken_for_it(tmp_path: Path, kind: str) -> None:
    """However lax both are: it is the key that counts."""
    folder = tmp_path / "other"
    folder.mkdir()
    extensions = LAX.get(kind, CONFORMING)
    other = Authority(folder, extensions=extensions).issue("good", LOCAL)
    assert (
        await status_with(tmp_path, other, Authority(tmp_path, extensions=extensions).file) == 502
    )


async def test_a_ca_below_the_root_may_be_trusted_by_itself(tmp_path: Path) -> None:
    """As curl does it: with no root in the file."""
    below = Authority(tmp_path, "below", issuer=Authority(tmp_path, "root"))
    assert await status_with(tmp_path, below.issue("good", LOCAL), below.file) == 200


@pytest.mark.parametrize("before", ["", "# CA of Müller GmbH\n"])
async def test_a_byte_order_mark_is_no_part_of_the_first_ca(tmp_path: Path, before: str) -> None:
    """As Windows' editors write it; what it stands before is a CA, or a comment."""
    authority, another = Authority(tmp_path), Authority(tmp_path, "another")
    bundle = tmp_path / "bundle.pem"
    both = authority.file.read_text() + another.file.read_text()
    bundle.write_text(before + both, encoding="utf-8-sig")
    assert await status_with(tmp_path, authority.issue("good", LOCAL), bundle) == 200


async def test_nothing_else_is_given_up(tmp_path: Path) -> None:
    """Certificates are asked for, names are compared, and an end must be said."""
    authority = Authority(tmp_path)
    settings = load(write_configuration(tmp_path, over_tls(1, authority.file)))
    context = tls_context(settings.relays[0])
    assert context is not None
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.check_hostname
    assert not context.options & ssl.OP_IGNORE_UNEXPECTED_EOF


def cut(caller: Caller) -> None:
    """End the connection below TLS, as whoever is in between can."""
    handle = caller.transport.get_extra_info("socket")
    below = socket.socket(fileno=handle.fileno())
    try:
        below.shutdown(socket.SHUT_WR)
    finally:
        below.detach()


@pytest.mark.parametrize(("ends", "outcome"), [(Caller.leave, "ok"), (cut, "truncated")])
async def test_only_the_upstream_itself_ends_an_answer(
    tmp_path: Path, ends: Callable[[Caller], None], outcome: str
) -> None:
    """An end without close_notify may be anybody's (RFC 9112 §9.8)."""
    authority = Authority(tmp_path)
    async with (
        running_upstream(authority.issue("good", LOCAL).context()) as upstream,
        running_relay(tmp_path, over_tls(upstream.port, authority.file)) as relay,
    ):
        agent = await relay.agent()
        await agent.send(request())
        caller, _ = await upstream.called()
        await caller.send(UNFRAMED)
        assert callable(ends)
        ends(caller)
        answer = await agent.answer()
        assert (answer.body, answer.complete) == (OK_BODY, outcome == "ok")
        assert await relay.outcomes() == {(outcome, "200"): 1}
