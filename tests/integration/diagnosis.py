"""``relay doctor`` on a host that a test makes up, its findings read back from its JSON."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from relay.commands.doctor import StreamOptions, System, diagnose
from relay.commands.doctor.host import NO_VARIABLES
from relay.config import load
from tests.harness.configuration import Config, configuration, write_configuration
from tests.harness.peer import Request
from tests.harness.secrets import SECRETS

MODELS: Final = {"data": [{"type": "model", "id": "claude-haiku-4-5"}], "has_more": False}


@dataclass(frozen=True)
class Found:
    """A finding as the JSON has it."""

    section: str
    check: str
    level: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level} {self.check}: {self.text} -> {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """The exit status and the findings."""

    status: int
    found: list[Found]

    def of(self, check: str) -> list[Found]:
        """Return the findings of one check."""
        return [each for each in self.found if each.check == check]

    def the(self, check: str) -> Found:
        """Return the only finding of a check."""
        (found,) = self.of(check)
        return found

    @property
    def levels(self) -> dict[str, str]:
        """The level of each check, the last one's where there are several."""
        return {each.check: each.level for each in self.found}


def read(status: int, output: str) -> Diagnosis:
    """Read the JSON, which no secret is in and whose ``ok`` is what the status says."""
    assert not any(secret in output for secret in SECRETS)
    data = json.loads(output)
    assert data["ok"] == (status == 0)
    return Diagnosis(status, [Found(**each) for each in data["checks"]])


async def diagnosed(
    folder: Path,
    config: Config,
    *,
    stream: StreamOptions | None = None,
    docker: str | None = None,
    machine: str = "x86_64",
    environment: Mapping[str, str] = NO_VARIABLES,
) -> Diagnosis:
    """Run the doctor; ``folder`` has the configuration, and ``host`` in it what /proc shows."""
    settings = load(write_configuration(folder, config))
    out = io.StringIO()
    system = System(folder / "host", docker, machine, environment)
    status = await diagnose(settings, system, stream or StreamOptions(), out, as_json=True)
    return read(status, out.getvalue())


def openly(port: int, **changes: object) -> Config:
    """Return a configuration without clients, whose admin pages nobody serves."""
    return configuration(port, clients=[], admin="127.0.0.1:2", **changes)


def answer(
    status: int = 200, data: object = MODELS, *lines: str, kind: str = "application/json"
) -> bytes:
    """Return an answer's bytes."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    head = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}"]
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


def api(**answers: bytes) -> Any:  # noqa: ANN401  # what Upstream.answer_with takes
    """Return what plays an API that has only these pages, by the last part of their path."""

    def play(request: Request) -> bytes:
        name = request.target.decode().rpartition("/")[2]
        return answers.get(name, answer(404, {"detail": "Not Found"}))

    return play


def host(folder: Path, **files: str) -> None:
    """Make a host that shows these files, with ``__`` for a slash in their names."""
    for name, text in files.items():
        path = folder / "host" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def listening(*sockets: tuple[str, int]) -> str:
    """Return /proc/net/tcp with these listeners, and a connection that is none."""
    rows = ["  sl  local_address rem_address   st", " 0: 0100007F:0050 0100007F:9999 01 0"]
    for address, port in sockets:
        number = int.from_bytes(socket.inet_aton(address), "little")
        rows.append(f" 1: {number:08X}:{port:04X} 00000000:0000 0A 0 0 0 0 0")
    return "\n".join(rows)
