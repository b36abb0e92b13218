"""What an agent on a container network could reach beside the relay, as far as this host shows.

Only where the relay listens beyond loopback: an agent on the host itself can reach everything.
Firewall rules cannot be read without privileges; a command to try it from a container is shown
instead (`from_agent`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from relay.commands.doctor.findings import Finding, Findings, fail, note, ok, warn
from relay.commands.doctor.host import Listener, System
from relay.config import ListenAddress, Settings

SERVICES: Final = {
    22: "ssh",
    25: "mail",
    53: "DNS",
    111: "rpcbind",
    445: "file shares",
    631: "printing",
    2049: "NFS",
    2375: "Docker's API",
    2376: "Docker's API",
    3000: "Grafana",
    3306: "MySQL",
    5432: "PostgreSQL",
    6379: "Redis",
    6443: "Kubernetes' API",
    8787: "Headroom",
    9090: "Prometheus",
    9484: "a relay's admin pages",
    9200: "Elasticsearch",
    10250: "kubelet",
    11211: "memcached",
    11434: "Ollama",
    27017: "MongoDB",
}
"""What usually listens at these ports."""
_DOCKER_API: Final = 2375
DEFAULT_SUBNET: Final = "10.84.84.0/24"


async def examine(settings: Settings, system: System) -> Findings:
    """List what else listens where containers could connect to it."""
    beyond = [address for address in settings.listen if not address.is_loopback]
    if not beyond:
        yield note("network", "the relay listens on loopback only: containers do not reach it")
        return
    subnet = _subnet(beyond, system)
    for finding in _exposed(settings, system, subnet):
        yield finding
    yield _firewall(beyond[0], system, subnet)


def _subnet(beyond: list[ListenAddress], system: System) -> str:
    """Return the agents' network: the one where the relay listens."""
    found = (system.subnet_of(address.ip) for address in beyond if address.ip is not None)
    return next((str(network) for network in found if network), DEFAULT_SUBNET)


def name_of(port: int) -> str:
    """Return a port with what usually listens there."""
    return f"{port} ({SERVICES[port]})" if port in SERVICES else str(port)


def _exposed(settings: Settings, system: System, subnet: str) -> Iterator[Finding]:
    # What comes to the return address is refused, unless it belongs to a call in flight.
    returns = settings.returns if settings.has_hops else ()
    own = {address.port for address in (*settings.listen, *returns)}
    admin = {address.port for address in settings.admin}
    open_sockets = [
        each for each in system.listeners() if not each.ip.is_loopback and each.port not in own
    ]
    ports = sorted({each.port for each in open_sockets})
    port = settings.listen[0].port
    tables = "ip6tables" if ":" in subnet else "iptables"
    rule = (
        "have them listen on 127.0.0.1 only, or close them to agents: "
        f"sudo {tables} -I INPUT -s {subnet} -j DROP; "
        f"sudo {tables} -I INPUT -s {subnet} -p tcp --dport {port} -j ACCEPT"
    )
    if _DOCKER_API in ports:
        text = f"agents may reach {name_of(_DOCKER_API)}: who does is root on this host"
        yield fail("exposed", text, "take -H tcp://... out of dockerd's options")
    for each in sorted(admin & set(ports)):
        text = f"agents may reach the relay's admin pages at port {each}"
        yield warn("exposed", text, "set admin: 127.0.0.1:9484")
    others = [each for each in ports if each not in admin | {_DOCKER_API}]
    if others:
        names = ", ".join(_described(each, open_sockets) for each in others)
        yield warn("exposed", f"agents may reach around the relay: {names}", rule)
    if not ports:
        yield ok("exposed", "nothing else listens beyond loopback")


def _described(port: int, sockets: Iterable[Listener]) -> str:
    """Return a port, with its address where that is not all of them."""
    ips = sorted({each.ip for each in sockets if each.port == port}, key=str)
    if any(ip.is_unspecified for ip in ips):
        return name_of(port)
    return f"{name_of(port)} on {ips[0]}"


def _firewall(address: ListenAddress, system: System, subnet: str) -> Finding:
    host = address.host if address.ip and not address.ip.is_unspecified else "10.84.84.1"
    network, image = shlex.quote(system.agents_network), shlex.quote(system.image)
    test = (
        f"to try it from an agent's place: docker run --rm --network {network} {image} "
        f"doctor --from-agent http://{ListenAddress(host, address.port)}"
    )
    firewall = system.firewall
    if not firewall:
        return note("firewall", "whether one drops what containers send does not show here", test)
    if firewall == "ufw":
        rule = f"sudo ufw allow from {subnet} to any port {address.port} proto tcp"
    else:
        rule = (
            "sudo firewall-cmd --permanent --zone=public --add-rich-rule='rule family="
            f"{'ipv6' if ':' in subnet else 'ipv4'} source "
            f"address={subnet} port port={address.port} protocol=tcp accept' "
            "&& sudo firewall-cmd --reload"
        )
    text = f"{firewall} is on, and drops what containers send unless a rule allows it"
    return warn("firewall", text, f"{rule}; {test}")
