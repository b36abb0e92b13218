"""The API that counts: what it stated of each call, by what it has written of its answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.faults.accounts.plans import Plan, Tokens
from tests.harness.chain import returned
from tests.harness.listener import Answering
from tests.harness.messages import chunk
from tests.harness.model_answers import event, plain_event
from tests.harness.peer import Agent, Answer, Caller, Ended, Request

ERRORS: Final = (429, 500, 529)
HOP: Final = "hop"
_FRAMING: Final = (b"transfer-encoding", b"content-length")
_CHAT: Final = "/v1/chat/completions"


class Api:
    """What it was asked, and what it stated; the plans are the agents'."""

    def __init__(self, plans: dict[int, Plan]) -> None:
        self._plans = plans
        self.stated: dict[int, Tokens] = {}
        """By call; of one of which nothing is stated, nothing."""
        self._attempts: Counter[int] = Counter()
        self._came: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.listener = Answering(self._answer)

    @property
    def attempts(self) -> int:
        """How often it was asked."""
        return self._attempts.total()

    @contextmanager
    def awaited(self, number: int) -> Iterator[asyncio.Event]:
        """Have something that is set once a call has come."""
        yield self._came[number]
        del self._came[number]

    async def _answer(self, caller: Caller, request: Request) -> None:
        number = json.loads(request.body)["n"]
        plan, attempt = self._plans[number], self._attempts[number]
        self._attempts[number] += 1
        self.stated.setdefault(number, Counter())
        if number in self._came:
            self._came[number].set()
        if plan.fate == "left early":
            await caller.gone()
        elif plan.fate == "refused" or (plan.fate == "retried" and not attempt):
            await caller.send(_refusal(plan, attempt))
        elif not plan.streams:
            self.stated[number] += plan.usage(attempt)
            await caller.send(_whole(plan, attempt))
        else:
            await self._stream(caller, plan, attempt)

    async def _stream(self, caller: Caller, plan: Plan, attempt: int) -> None:
        stated = self.stated[plan.number]
        begin, *rest = _chat(plan, attempt) if plan.by_hop else _message(plan, attempt)
        if not plan.by_hop:
            stated += plan.begun(attempt)
        await caller.send(_head(plan, attempt, "text/event-stream") + chunk(begin))
        if plan.fate == "left":
            await caller.gone()
        elif plan.fate == "cut":
            caller.leave()
            raise Ended
        elif plan.fate == "failed":
            error = event("error", error={"type": "overloaded_error", "message": "Too much."})
            await caller.send(chunk(error) + chunk(b""))
        else:
            stated += plan.usage(attempt) - (Counter() if plan.by_hop else plan.begun(attempt))
            await caller.send(b"".join(map(chunk, rest)) + chunk(b""))


class RetryingHop:
    """An LLM proxy: tries again what fails, or asks twice, and passes the last answer on."""

    def __init__(self, plans: dict[int, Plan], returns: int) -> None:
        self._plans = plans
        self._returns = returns
        self.listener = Answering(self._pass_on)

    async def _pass_on(self, caller: Caller, request: Request) -> None:
        plan = self._plans[json.loads(request.body)["n"]]
        answer = await self._ask(caller, request)
        if plan.fate == "doubled" or answer.status in ERRORS:
            answer = await self._ask(caller, request)
        kept = [line for line in answer.fields if line[0].lower() != b"transfer-encoding"]
        lines = b"".join(b"%b: %b\r\n" % each for each in kept)
        sized = (
            b"" if answer.values("content-length") else b"content-length: %d\r\n" % len(answer.body)
        )
        await caller.send(answer.start + b"\r\n" + lines + sized + b"\r\n" + answer.body)

    async def _ask(self, caller: Caller, request: Request) -> Answer:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            _, agent = await loop.create_connection(Agent, "127.0.0.1", self._returns)
            try:
                answer = await agent.ask(returned(request, _CHAT, relay="openai", hop=HOP))
            finally:
                agent.leave()
            if answer.complete:
                return answer
        caller.leave()
        raise Ended


def _head(
    plan: Plan, attempt: int, content_type: str, status: int = 200, length: int = -1
) -> bytes:
    framing = "transfer-encoding: chunked" if length < 0 else f"content-length: {length}"
    names = f"request-id: req_{plan.number}_{attempt}\r\ncontent-type: {content_type}"
    return f"HTTP/1.1 {status} X\r\n{names}\r\n{framing}\r\n\r\n".encode()


def _json(plan: Plan, attempt: int, body: object, status: int = 200) -> bytes:
    text = json.dumps(body).encode()
    return _head(plan, attempt, "application/json", status, len(text)) + text


def _refusal(plan: Plan, attempt: int) -> bytes:
    error = {"type": "error", "error": {"type": "api_error", "message": "Not now."}}
    return _json(plan, attempt, error, ERRORS[plan.number % len(ERRORS)])


def _whole(plan: Plan, attempt: int) -> bytes:
    used = plan.usage(attempt)
    if plan.by_hop:
        choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
        body = {"object": "chat.completion", "model": plan.model, "choices": [choice]}
        return _json(plan, attempt, body | {"usage": _chat_usage(used)})
    content = [{"type": "text", "text": "Hi"}]
    body = {"type": "message", "model": plan.model, "content": content, "stop_reason": "end_turn"}
    return _json(plan, attempt, body | {"usage": _message_usage(used)})


def _message(plan: Plan, attempt: int) -> list[bytes]:
    """Return a message's stream: what begins it, with the first text, and the rest."""
    used = plan.usage(attempt)
    message = {"type": "message", "model": plan.model, "usage": _message_usage(used, output=1)}
    block = {"type": "text", "text": ""}
    text = {"type": "text_delta", "text": "Hi"}
    begin = (
        event("message_start", message=message)
        + event("content_block_start", index=0, content_block=block)
        + event("content_block_delta", index=0, delta=text)
    )
    delta, final = {"stop_reason": "end_turn"}, {"output_tokens": used["output"]}
    return [begin, event("message_delta", delta=delta, usage=final), event("message_stop")]


def _chat(plan: Plan, attempt: int) -> list[bytes]:
    about = {"object": "chat.completion.chunk", "model": plan.model}
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = _chat_usage(plan.usage(attempt))
    return [
        plain_event(**about, choices=[choice]),
        plain_event(**about, choices=[last]),
        plain_event(**about, choices=[], usage=usage),
        b"data: [DONE]\n\n",
    ]


def _message_usage(used: Tokens, output: int | None = None) -> dict[str, object]:
    written = {
        f"ephemeral_{span}_input_tokens": used[f"cache_write_{span}"] for span in ("5m", "1h")
    }
    return {
        "input_tokens": used["input"],
        "cache_read_input_tokens": used["cache_read"],
        "cache_creation_input_tokens": sum(written.values()) + used["cache_write_unknown"],
        "cache_creation": written,
        "output_tokens": used["output"] if output is None else output,
    }


def _chat_usage(used: Tokens) -> dict[str, object]:
    return {
        "prompt_tokens": used["input"] + used["cache_read"],
        "completion_tokens": used["output"],
        "prompt_tokens_details": {"cached_tokens": used["cache_read"]},
    }
