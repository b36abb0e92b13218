"""One relay for each module of the specification, on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.wire.ends import Ends, running_ends


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ends(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ends]:
    """A relay of every kind, with clients, and a raw upstream behind them."""
    async with running_ends(tmp_path_factory.mktemp("wire")) as running:
        yield running
