"""Makes the pictures that README and docs show: ``python -m tests.browser.screenshots``.

By hand, before a release: a relay with made-up calls, as a morning's work may look.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from relay.commands.top.figures import figures_of
from relay.commands.top.page import read_snapshot
from tests.browser.browser import Browser, running_driver
from tests.browser.calls import head
from tests.harness import ROOT
from tests.harness.configuration import configuration
from tests.harness.messages import MESSAGES, chunk, request
from tests.harness.model_answers import event
from tests.harness.peer import Caller
from tests.harness.relay import LocalRelay, running_relay
from tests.harness.upstream import Upstream, running_upstream

DOCS: Final = ROOT / "docs"
SESSIONS: Final = ("8f1c2b7e-33aa-4b00-9a1d-0c9d8e7f6a50", "41d09c55-7e0b-4c1f-a2f7-5b1e90c3d8aa")
MODELS: Final = ("claude-opus-4-8", "claude-haiku-4-5")
