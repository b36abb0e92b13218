"""``relay doctor`` and a proxy on the way out: each step, and who reads what goes through."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay.commands.doctor import StreamOptions, System, diagnose
from relay.config import load
from tests.harness.closed_ways import SQUID, WANTS
from tests.harness.configuration import Config, write_configuration
from tests.harness.egress import API, AUTHORITY, Issued, issue, through
from tests.harness.proxy import Proxy, running_proxy
from tests.harness.secrets import SECRETS
from tests.harness.upstream import running_upstream
from tests.integration.diagnosis import Diagnosis, answer, api, diagnosed

pytestmark = [pytest.mark.asyncio_loop, pytest.mark.usefixtures("short_limits")]

CREDENTIAL = {"file": "proxy"}


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """Certificates, made once."""
    return issue(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def corp(issued: Issued, *, tls: bool = False, reads: bool = False) -> AsyncIterator[Proxy]:
    """Run a proxy, with the API behind it; by ``reads`` it shows a certificate of its own."""
    certificate = issued.forged if reads else issued.api
    async with running_upstream(certificate.context()) as upstream:
        upstream.answer_with(api(models=answer()))
        context = issued.proxy.context() if tls else None
        async with running_proxy({AUTHORITY: upstream.port}, context) as proxy:
            yield proxy


def of(config: Config) -> Config:
    """Return a configuration without clients, whose admin pages nobody serves."""
    return config | {"clients": [], "admin": "127.0.0.1:2"}


def lines_of(diagnosis: Diagnosis) -> list[str]:
    """Return what was found of the relay, without its times."""
    found = [str(each) for each in diagnosis.found if each.section.startswith("relay ")]
    return [re.sub(r"\d+(\.\d+)? ms", "N ms", line) for line in found]


@pytest.mark.parametrize("tls", [False, True])
async def test_every_step_is_proved(issued: Issued, tmp_path: Path, tls: bool) -> None:
    """To the proxy, with it, through it, and with the API; then the calls go that way, too."""
    async with corp(issued, tls=tls) as proxy:
        trust = {"ca_file": str(issued.company.file)} if tls else {}
        config = of(through(proxy.url, issued, credential=CREDENTIAL, **trust))
        diagnosis = await diagnosed(tmp_path, config)
        assert lines_of(diagnosis) == [
            f"ok grant: anthropic is there, from {tmp_path}/key -> ",
            f"ok egress: its credential is there, from {tmp_path}/proxy -> ",
            f"ok connect: proxy: 127.0.0.1:{proxy.port} in N ms -> ",
            *(["ok tls: proxy: the certificate is 127.0.0.1's -> "] if tls else []),
            f"ok CONNECT: the proxy opens a way to {AUTHORITY} -> ",
            f"ok tls: the certificate is {API}'s -> ",
            "ok path: GET /v1/models: 200 in N ms -> ",
            "ok credential: accepted; 1 model -> ",
            "note stream: not checked: it costs up to 100 tokens -> relay doctor --stream",
        ]
        assert diagnosis.status == 0
        section = f"relay anthropic -> proxy {proxy.url} -> https://{API}"
        assert diagnosis.found[0].section == section


@pytest.mark.parametrize(
    ("played", "text"),
    [
        (
            WANTS % b"Basic",
            r"FAIL CONNECT: the proxy \S+ refuses the credential from \S+: 407 .* -> put another",
        ),
        (
            WANTS % b"NTLM",
            r"FAIL CONNECT: the proxy \S+ wants to be told who asks by NTLM: .* -> the relay says",
        ),
        (
            SQUID % (b"403 Forbidden", b"ERR_ACCESS_DENIED"),
            rf"FAIL CONNECT: the proxy \S+ refuses a way to {AUTHORITY}: 403 .* -> see to its rul",
        ),
        (b"", rf"FAIL CONNECT: the proxy \S+ does not answer CONNECT {AUTHORITY} within 1 s -> "),
        (b"what?\r\n", r"FAIL CONNECT: .* with what is not HTTP/1.1 -> correct egress.url"),
    ],
)
async def test_a_proxy_that_opens_no_way(
    issued: Issued, tmp_path: Path, played: bytes, text: str
) -> None:
    """In the words of the log, with the remedy; nothing is asked behind it."""
    async with corp(issued) as proxy:
        proxy.answer, proxy.leads = played, False
        config = of(through(proxy.url, issued, credential=CREDENTIAL))
        diagnosis = await diagnosed(tmp_path, config)
        assert re.match(text, lines_of(diagnosis)[-1]), lines_of(diagnosis)[-1]
        assert diagnosis.status == 1
        assert len(proxy.passages) == 1


async def test_a_proxy_that_is_not_there(issued: Issued, closed_port: int, tmp_path: Path) -> None:
    """Its name, its port, its TLS: said of the proxy, with its own key."""
    found = {}
    urls = {
        "port": f"http://127.0.0.1:{closed_port}",
        "name": "http://proxy.corp.invalid:3128",
    }
    for what, url in urls.items():
        found[what] = lines_of(await diagnosed(tmp_path, of(through(url, issued))))[-1]
    assert re.match(
        r"FAIL connect: proxy: nothing listens at 127.0.0.1:\d+ -> start what should listen "
        "there, or correct egress.url",
        found["port"],
    )
    assert found["name"] == (
        "FAIL name: proxy: proxy.corp.invalid does not resolve to an address -> "
        "correct the host in egress.url, or the host's name servers"
    )
    async with corp(issued, tls=True) as proxy:
        line = lines_of(await diagnosed(tmp_path, of(through(proxy.url, issued))))[-1]
    assert re.match(
        r"FAIL tls: TLS with the proxy \S+ fails, the certificate is not accepted: .* -> "
        "if it is the company's own, name its CA in egress.ca_file",
        line,
    )


async def test_a_credential_that_is_missing(issued: Issued, tmp_path: Path) -> None:
    """The proxy is looked for all the same, and asked nothing."""
    async with corp(issued) as proxy:
        config = of(through(proxy.url, issued, credential={"file": "late"}))
        diagnosis = await diagnosed(tmp_path, config)
        late = tmp_path / "late"
        assert str(diagnosis.the("egress")) == (
            f"FAIL egress: its credential is MISSING: {late} is not there -> write {late}"
        )
        assert diagnosis.levels["connect"] == "ok"
        assert (diagnosis.status, proxy.passages) == (1, [])


async def test_a_credential_that_cannot_be_right(issued: Issued, tmp_path: Path) -> None:
    """Said before the proxy is asked."""
    (tmp_path / "half").write_text("corp-relay")
    async with corp(issued) as proxy:
        config = of(through(proxy.url, issued, credential={"file": "half"}))
        diagnosis = await diagnosed(tmp_path, config)
        assert "warn egress: its credential has no colon -> write user:password there" in [
            str(each) for each in diagnosis.of("egress")
        ]


async def test_a_proxy_that_reads_tls(issued: Issued, tmp_path: Path) -> None:
    """A failure without its CA, and a warning with it: it sees the credential."""
    async with corp(issued, reads=True) as proxy:
        line = lines_of(await diagnosed(tmp_path, of(through(proxy.url, issued))))[-1]
        assert re.match(
            rf"FAIL tls: TLS with {AUTHORITY} through the proxy \S+ fails, the certificate is not "
            "accepted: .* -> if the proxy is meant to read TLS, the credential too, name its CA in",
            line,
        )
        config = of(through(proxy.url, issued, ca_file=str(issued.company.file)))
        diagnosis = await diagnosed(tmp_path, config)
        assert [str(each) for each in diagnosis.of("tls")][-1] == (
            f"warn tls: the proxy reads what goes to {API}, and the credential with it: its own "
            "CA makes the certificate good -> nothing, if that is meant; else have that host let "
            "through unread"
        )
        assert diagnosis.levels["credential"] == "ok"
        assert diagnosis.status == 0


async def test_a_ca_that_nobody_needed(issued: Issued, tmp_path: Path) -> None:
    """Where the API's own certificate comes through, nobody reads."""
    async with corp(issued) as proxy:
        config = of(through(proxy.url, issued, ca_file=str(issued.company.file)))
        diagnosis = await diagnosed(tmp_path, config)
        assert diagnosis.levels["tls"] == "ok"


async def test_a_proxy_by_a_variable_alone(
    issued: Issued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no way straight, it says that the relay follows none."""
    monkeypatch.setenv("HTTPS_PROXY", "http://corp:Pw-7Hq2Zt9Vk4Nc8@proxy.corp:3128")
    config = of(through("http://127.0.0.1:1", issued)) | {"egress": None}
    config["relays"]["anthropic"]["url"] = "https://api.corp.invalid"
    diagnosis = await diagnosed(tmp_path, config)
    assert lines_of(diagnosis)[-1] == (
        "note egress: $HTTPS_PROXY is set here, which the relay does not follow -> "
        "if the way out is by that proxy, name it in egress: docs/egress.md"
    )
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.delenv("https_proxy", raising=False)
    assert "egress" not in (await diagnosed(tmp_path, config)).levels


async def test_nothing_of_the_credential_is_shown(issued: Issued, tmp_path: Path) -> None:
    """Also where the proxy repeats it; as text."""
    async with corp(issued) as proxy:
        proxy.answer, proxy.leads = f"HTTP/1.1 503 {SECRETS[-1]}\r\n\r\n".encode(), False
        config = of(through(proxy.url, issued, credential=CREDENTIAL))
        out = io.StringIO()
        settings = load(write_configuration(tmp_path, config))
        system = System(tmp_path / "host")
        assert await diagnose(settings, system, StreamOptions(), out, as_json=False) == 1
    assert "503 '[redacted]'" in out.getvalue()
    assert not any(secret in out.getvalue() for secret in SECRETS)
