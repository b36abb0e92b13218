"""``relay doctor`` and what is around a relay that containers call, on hosts made up of files."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from relay.commands.doctor.host import NO_VARIABLES, Listener, System
from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.upstream import Upstream
from tests.integration.diagnosis import Diagnosis, diagnosed, host, listening

pytestmark = [pytest.mark.asyncio_loop, pytest.mark.usefixtures("well")]

GATEWAY = "10.84.84.1:8484"
ROUTES = """\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0
br-1 0054540A 00000000 0001 0 0 0 00FFFFFF 0 0 0
br-2 0000630A 00000000 0001 0 0 0 0000FFFF 0 0 0
"""
# ::1, the network's own address, the network, and the way to all others.
ROUTES_6 = """\
00000000000000000000000000000001 80 {0} 00 {0} 00000000 00000002 00000000 80200001 lo
fd840084000000000000000000000001 80 {0} 00 {0} 00000000 00000003 00000000 80200001 br-1
fd840084000000000000000000000000 40 {0} 00 {0} 00000100 00000001 00000000 00000001 br-1
00000000000000000000000000000000 00 {0} 00 fe800000000000000000000000000001 400 1 0 3 eth0
""".format("0" * 32)
RULES = (
    "sudo iptables -I INPUT -s {0} -j DROP; "
    "sudo iptables -I INPUT -s {0} -p tcp --dport 8484 -j ACCEPT"
)


async def looked_around(
    folder: Path,
    upstream: Upstream,
    *,
    listen: tuple[str, ...] = ("127.0.0.1:8484", GATEWAY),
    admin: str = "127.0.0.1:1",
    docker: str | None = None,
    environment: Mapping[str, str] = NO_VARIABLES,
    **changes: object,
) -> Diagnosis:
    """Diagnose a relay that listens there."""
    config = configuration(upstream.port, listen=list(listen), admin=admin, **changes)
    return await diagnosed(folder, config, docker=docker, environment=environment)


async def test_what_else_listens_beyond_loopback(upstream: Upstream, tmp_path: Path) -> None:
    """By port, with what it usually is, and the rule for the network there is."""
    sockets = listening(
        ("0.0.0.0", 22),
        ("0.0.0.0", 8787),
        ("127.0.0.1", 5432),
        ("172.17.0.1", 9999),
        ("10.84.84.1", 8484),
    )
    host(tmp_path, proc__net__tcp=sockets, proc__net__route=ROUTES)
    diagnosis = await looked_around(tmp_path, upstream)
    found = diagnosis.the("exposed")
    assert found.level == "warn"
    assert found.text == (
        "agents may reach around the relay: 22 (ssh), 8787 (Headroom), 9999 on 172.17.0.1"
    )
    assert found.remedy.endswith(RULES.format("10.84.84.0/24"))
    assert diagnosis.status == 0


@pytest.mark.parametrize("hops", [True, False])
async def test_a_return_address_is_the_relays_own(
    upstream: Upstream, tmp_path: Path, hops: bool
) -> None:
    """It takes only what belongs to a call; without hops it is another that listens."""
    host(tmp_path, proc__net__tcp=listening(("10.84.86.1", 8485)), proc__net__route=ROUTES)
    claude: dict[str, object] = {"base_url": f"http://127.0.0.1:{upstream.port}"}
    if hops:
        claude["hops"] = [{"name": "headroom", "url": "http://127.0.0.1:2"}]
    diagnosis = await looked_around(tmp_path, upstream, claude=claude, returns=["10.84.86.1:8485"])
    assert diagnosis.the("exposed").level == ("ok" if hops else "warn")


async def test_the_rule_is_for_the_network_that_the_relay_listens_on(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Whatever its size."""
    host(tmp_path, proc__net__tcp=listening(("0.0.0.0", 22)), proc__net__route=ROUTES)
    diagnosis = await looked_around(tmp_path, upstream, listen=("10.99.3.1:8484",))
    assert diagnosis.the("exposed").remedy.endswith(RULES.format("10.99.0.0/16"))


async def test_nothing_else_listens(upstream: Upstream, tmp_path: Path) -> None:
    """The relay's own port is no finding."""
    host(tmp_path, proc__net__tcp=listening(("127.0.0.1", 22), ("0.0.0.0", 8484)))
    found = (await looked_around(tmp_path, upstream)).the("exposed")
    assert str(found) == "ok exposed: nothing else listens beyond loopback -> "


async def test_dockers_api_open_to_agents_is_a_failure(upstream: Upstream, tmp_path: Path) -> None:
    """Whoever reaches it owns the host, and the credential."""
    host(tmp_path, proc__net__tcp=listening(("0.0.0.0", 2375)))
    diagnosis = await looked_around(tmp_path, upstream)
    assert diagnosis.the("exposed").level == "FAIL"
    assert diagnosis.the("exposed").remedy == "take -H tcp://... out of dockerd's options"
    assert diagnosis.status == 1


async def test_open_admin_pages_are_warned_of(upstream: Upstream, tmp_path: Path) -> None:
    """They show who calls what."""
    host(tmp_path, proc__net__tcp=listening(("0.0.0.0", 1)))
    found = (await looked_around(tmp_path, upstream, admin="0.0.0.0:1")).the("exposed")
    assert (found.level, found.remedy) == ("warn", "set admin: 127.0.0.1:9484")


async def test_on_loopback_alone_nothing_is_around(upstream: Upstream, tmp_path: Path) -> None:
    """An agent on the host reaches all there is anyway."""
    host(tmp_path, proc__net__tcp=listening(("0.0.0.0", 2375)))
    diagnosis = await looked_around(tmp_path, upstream, listen=("127.0.0.1:8484",))
    assert diagnosis.the("network").level == "note"
    assert not diagnosis.of("exposed")
    assert not diagnosis.of("firewall")


@pytest.mark.parametrize(
    ("files", "level", "rule"),
    [
        ({}, "note", ""),
        ({"etc__ufw__ufw.conf": "# x\nENABLED=no\n"}, "note", ""),
        (
            {"etc__ufw__ufw.conf": "# x\nENABLED=yes\n"},
            "warn",
            "sudo ufw allow from 10.84.84.0/24 to any port 8484 proto tcp",
        ),
        (
            {"sys__fs__cgroup__system.slice__firewalld.service": ""},
            "warn",
            "sudo firewall-cmd --permanent --zone=public --add-rich-rule=",
        ),
    ],
)
async def test_a_firewall_that_shows(
    upstream: Upstream, tmp_path: Path, files: dict[str, str], level: str, rule: str
) -> None:
    """Its rule; and always how to try it, for most of the time it does not show."""
    host(tmp_path, **files)
    found = (await looked_around(tmp_path, upstream)).the("firewall")
    assert found.level == level
    assert found.remedy.startswith(rule)
    assert found.remedy.endswith(
        "docker run --rm --network relay-agents agent-relay "
        "doctor --from-agent http://10.84.84.1:8484"
    )


async def test_the_way_to_try_it_has_the_stacks_own_names(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Which compose.yaml tells the relay, by its variables and with their defaults."""
    names = {"RELAY_NETWORK": "second-agents", "RELAY_IMAGE": "second relay"}
    diagnosis = await looked_around(tmp_path, upstream, environment=names)
    assert "--network second-agents 'second relay' doctor" in diagnosis.the("firewall").remedy
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    told = compose["services"]["relay"]["environment"]
    known = {"RELAY_NETWORK": System().agents_network, "RELAY_IMAGE": System().image}
    assert {name: told[name] for name in names} == {
        name: f"${{{name}:-{default}}}" for name, default in known.items()
    }


async def test_the_rule_for_an_ipv6_network_is_ip6tables(
    upstream: Upstream, tmp_path: Path
) -> None:
    """With its subnet, as the kernel's own table has it."""
    host(tmp_path, proc__net__tcp=listening(("0.0.0.0", 22)), proc__net__ipv6_route=ROUTES_6)
    diagnosis = await looked_around(tmp_path, upstream, listen=("[fd84:84::1]:8484",))
    rules = RULES.format("fd84:84::/64").replace("iptables", "ip6tables")
    assert diagnosis.the("exposed").remedy.endswith(rules)


# What the kernel shows


def test_the_real_kernels_sockets_are_read() -> None:
    """IPv4 and IPv6, all addresses and one."""
    opened = []
    for family, address in (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "127.3.2.1"),
        (socket.AF_INET6, "::1"),
    ):
        handle = socket.socket(family)
        handle.bind((address, 0))
        handle.listen()
        opened.append((handle, Listener(handle.getsockname()[1], address)))
    found = System().listeners()
    for handle, listener in opened:
        assert listener in found
        handle.close()


def test_ipv6_addresses_are_read(tmp_path: Path) -> None:
    """Words of the machine's order; an IPv4 address within is one."""
    rows = "head\n 0: 00000000000000000000000000000000:1F90 0:0 0A\n"
    rows += " 1: 0000000000000000FFFF00000100007F:1F91 0:0 0A\n"
    rows += " 2: B80D0120000000000000000001000000:1F92 0:0 0A\n"
    host(tmp_path, proc__net__tcp6=rows)
    found = System(tmp_path / "host").listeners()
    assert [str(each.ip) for each in found] == ["::", "127.0.0.1", "2001:db8::1"]


@pytest.mark.parametrize("text", ["", "x", "head\nshort row\n", "head\n a b c d e f g zz\n"])
def test_tables_that_cannot_be_read_show_nothing(tmp_path: Path, text: str) -> None:
    """Another kernel's, or none."""
    host(tmp_path, proc__net__tcp=text, proc__net__route=text, proc__net__ipv6_route=text)
    system = System(tmp_path / "host")
    assert system.listeners() == []
    assert system.subnet_of(ipaddress.ip_address("10.84.84.1")) is None
    assert system.subnet_of(ipaddress.ip_address("fd84:84::1")) is None
