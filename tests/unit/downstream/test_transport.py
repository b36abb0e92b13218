"""What is written to an agent that is gone, and what is asked of it."""

import asyncio

from relay.downstream.transport import AgentTransport


class Gone(asyncio.Transport):
    """A transport whose socket is closed: whoever uses it is at fault, and hears of it."""


async def test_nothing_is_asked_of_a_connection_that_is_lost() -> None:
    """Timers and calls that are not over yet may come later."""
    agent = AgentTransport()
    agent.opened(Gone())
    agent.lost()
    agent.write(b"late")
    agent.pause_reading()
    agent.resume_reading()
    agent.notice_departure()
    agent.cut_if_stuck(0.0)
    agent.close()
    agent.abort()
    await agent.linger()
    await agent.break_off(0.0)
    assert (agent.unsent, agent.untaken) == (0, 0)
    assert (agent.local_address, agent.local_port) == ("", 0)
