"""The imitation of the API overlooks nothing that a test relies on it to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.acceptance.api import Api, fails, running_api, says
from tests.harness.messages import request
from tests.harness.secrets import KEY, OAUTH, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODY = json.dumps({"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]})
MESSAGES = "/v1/messages"


@pytest_asyncio.fixture(loop_scope="session")
async def strict_api() -> AsyncIterator[Api]:
    """An API of the test's own, whose faults are its subject."""
    async with running_api() as running:
        yield running


async def ask(api: Api, data: bytes) -> int:
    """Make a call and return its status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(data)
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


@pytest.mark.parametrize(
    ("target", "line", "body", "where"),
    [
        (f"{MESSAGES}?key={TOKEN}", "Accept: */*", BODY, "request line"),
        (MESSAGES, f"X-Note: {TOKEN}", BODY, "header X-Note"),
        (MESSAGES, f"X-{TOKEN}: 1", BODY, "header name"),
        (MESSAGES, "Accept: */*", BODY.replace("Hi", TOKEN), "body"),
    ],
)
async def test_a_token_anywhere_is_a_fault(
    strict_api: Api, target: str, line: str, body: str, where: str
) -> None:
    """It says where, and not which token."""
    strict_api.plan(says("Hello."))
    assert await ask(strict_api, request(target, line, body=body.encode(), token=KEY)) == 200
    assert strict_api.faults == [f"POST {MESSAGES}: a client's token in its {where}"]
    with pytest.raises(AssertionError, match="a client's token"):
        strict_api.check()


@pytest.mark.parametrize(
    "credentials",
    [
        [],
        ["x-api-key: sk-ant-api03-another"],
        [f"Authorization: Bearer {OAUTH}"],
        [f"x-api-key: {KEY}", f"Authorization: Bearer {KEY}"],
        [f"x-api-key: {KEY}", f"x-api-key: {KEY}"],
    ],
    ids=["none", "another", "of-a-subscription", "two-headers", "twice"],
)
async def test_anything_but_the_real_key_is_a_fault(
    strict_api: Api, credentials: list[str]
) -> None:
    """It is refused, and the test fails even where its client does not mind."""
    data = request(MESSAGES, *credentials, body=BODY.encode(), token=None)
    assert await ask(strict_api, data) == 401
    assert len(strict_api.faults) == 1


async def test_a_call_that_nobody_planned_is_a_fault(strict_api: Api) -> None:
    """Such as one retry too many."""
    strict_api.plan(fails(529))
    data = request(MESSAGES, body=BODY.encode(), token=KEY)
    assert [await ask(strict_api, data), await ask(strict_api, data)] == [529, 400]
    assert strict_api.faults == [f"POST {MESSAGES}: nobody planned this call"]


async def test_a_reply_that_nobody_fetched_is_a_fault(strict_api: Api) -> None:
    """Such as a retry that was never made."""
    strict_api.plan(fails(529), says("Hello."))
    assert await ask(strict_api, request(MESSAGES, body=BODY.encode(), token=KEY)) == 529
    with pytest.raises(AssertionError, match="1 planned replies"):
        strict_api.check()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/v1/messages/count_tokens", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/claude-sonnet-4-5?beta=true", 200),
        ("GET", "/v1/organizations", 404),
    ],
)
async def test_pages_beside_the_messages(
    strict_api: Api, method: str, target: str, status: int
) -> None:
    """What an agent asks for beside the messages needs no plan."""
    assert await ask(strict_api, request(target, method=method, token=KEY)) == status
    strict_api.check()
