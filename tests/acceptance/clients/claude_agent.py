"""An agent as a user writes one: prompts from the standard input go to Claude Code, by its SDK.

Prints each message that comes back as a line of JSON. It runs where there is the SDK and nothing
of this repository.
"""

import asyncio
import dataclasses
import json
import sys
from typing import Any

from claude_agent_sdk import (  # type: ignore[import-not-found]  # only where this runs
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    create_sdk_mcp_server,
    query,
    tool,
)


def show(message: Message) -> None:
    """Print a message, with what it is."""
    line = {"kind": type(message).__name__, **dataclasses.asdict(message)}
    sys.stdout.write(json.dumps(line, default=repr) + "\n")
    sys.stdout.flush()


async def one_session(prompts: list[str], options: ClaudeAgentOptions) -> None:
    """Keep one Claude Code for all prompts."""
    async with ClaudeSDKClient(options=options) as client:
        for prompt in prompts:
            await client.query(prompt)
            async for message in client.receive_response():
                show(message)


async def single_query(prompts: list[str], options: ClaudeAgentOptions) -> None:
    """Start a Claude Code for one prompt."""
    async for message in query(prompt=prompts[0], options=options):
        show(message)


@tool("weather", "The weather in a city", {"city": str})  # type: ignore[untyped-decorator]  # as above
async def weather(arguments: dict[str, str]) -> dict[str, Any]:
    """Answer from this process: the tool is the agent's own."""
    return {"content": [{"type": "text", "text": f"fair in {arguments['city']}"}]}


async def main() -> None:
    """Do what is asked for."""
    order = json.load(sys.stdin)
    own = create_sdk_mcp_server("own", tools=[weather])
    options = ClaudeAgentOptions(mcp_servers={"own": own}, **order["options"])
    ways = {"client": one_session, "query": single_query}
    await ways[order["way"]](order["prompts"], options)


asyncio.run(main())
