"""Runs in an agent's container: makes one call as told on stdin, and reports it as JSON.

The first line of stdin says what to do; when stdin ends while the call runs, the agent
hangs up. The last line of stdout is the report; once the answer's head has come, ``head`` stands
in a line before it. Standard library only: the container has nothing else.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

TOKEN_FILE = "/run/relay/relay_token"


def main() -> None:
    """Make the call and print what came of it."""
    order = json.loads(sys.stdin.readline())
    report: dict[str, object] = {"pieces": [], "error": None}
    connection = http.client.HTTPConnection(order["host"], order["port"], timeout=60)
    try:
        if order.get("connect_only"):
            connection.timeout = 2
            connection.connect()
            report["connected"] = True
        else:
            make_call(order, connection, report)
    except (OSError, http.client.HTTPException) as error:
        report["error"] = type(error).__name__
    report["ended"] = time.time()
    sys.stdout.write(json.dumps(report) + "\n")


def make_call(
    order: dict[str, Any], connection: http.client.HTTPConnection, report: dict[str, object]
) -> None:
    """Send the request; note the head, and each piece of the body with its time of arrival."""
    headers = dict(order.get("headers") or {})
    if order.get("token", "file") == "file":
        headers["authorization"] = f"Bearer {Path(TOKEN_FILE).read_text().strip()}"
    body = str(order.get("body") or "").encode()
    size = int(order.get("padding") or 0)
    connection.connect()
    hang_up_at_end_of_input(connection)
    report["sent"] = time.time()
    connection.request(order["method"], order["path"], body=body + b" " * size, headers=headers)
    response = connection.getresponse()
    print("head", flush=True)  # noqa: T201  # that is how it says so
    report["status"] = response.status
    report["reason"] = response.reason
    report["headers"] = response.getheaders()
    digest = hashlib.sha256()
    pieces: list[tuple[float, str]] = []
    report["pieces"] = pieces
    # Not line by line: http.client's readline takes a stream that breaks off for complete.
    while piece := response.read1(65536):
        pieces.append((time.time(), piece.decode("latin-1")))
        digest.update(piece)
    report["sha256"] = digest.hexdigest()


def hang_up_at_end_of_input(connection: http.client.HTTPConnection) -> None:
    """Close the connection when whoever gave the order closes our stdin."""

    def wait() -> None:
        sys.stdin.read()
        connection.sock.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
