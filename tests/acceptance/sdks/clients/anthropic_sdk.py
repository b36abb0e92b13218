"""Calls by Anthropic's SDK for Python: what came of each, as a line of JSON.

Runs in an environment of its own: `python anthropic_sdk.py BASE_URL KEY CASE...`, with - for both
where the environment has them. The same cases with the same facts are in `anthropic_sdk.mjs`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import anthropic
from anthropic import Anthropic
from anthropic.types import MessageParam, ToolParam
from anthropic.types.messages.batch_create_params import Request

Facts = dict[str, object]

MODEL = "claude-opus-5-1"
BATCH = "msgbatch_01Hk7Pq2Rs4Tv6Wx8Yz0Ab3Cd5"
FILE = b"one,two\r\n\x00\xff\xfe not text \xe2\x82\xac\n"
WEATHER: ToolParam = {
    "name": "weather",
    "description": "The weather in a city, in °C",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def user(text: str) -> MessageParam:
    """Return what a user says."""
    return {"role": "user", "content": text}


def message(client: Anthropic, text: str = "hello – ünïcode\u2028and more") -> Facts:
    """Ask once."""
    answer = client.messages.create(model=MODEL, max_tokens=64, messages=[user(text)])
    return {"answer": answer.to_dict(), "request_id": answer._request_id}


def stream(client: Anthropic, text: str = "hello") -> Facts:
    """Ask for a stream and read all of it."""
    with client.messages.stream(model=MODEL, max_tokens=64, messages=[user(text)]) as events:
        kinds = [event.type for event in events]
        return {"events": kinds, "answer": events.get_final_message().to_dict()}


def tools(client: Anthropic) -> Facts:
    """Have a tool used, and say what it found."""
    messages = [user("tool please")]
    with client.messages.stream(
        model=MODEL, max_tokens=64, messages=messages, tools=[WEATHER]
    ) as events:
        use = events.get_final_message()
    (block,) = use.content
    assert block.type == "tool_use"
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": block.id, "content": "fair"}],
    }
    messages += [{"role": "assistant", "content": [block]}, result]
    answer = client.messages.create(model=MODEL, max_tokens=64, messages=messages, tools=[WEATHER])
    return {"use": use.to_dict(), "answer": answer.to_dict()}


def count(client: Anthropic) -> Facts:
    """Have tokens counted."""
    return client.messages.count_tokens(model=MODEL, messages=[user("hello")]).to_dict()


def models(client: Anthropic) -> Facts:
    """List the models, and get one."""
    found = [model.id for model in client.models.list(limit=5)]
    return {"list": found, "one": client.models.retrieve(MODEL).id}


def batches(client: Anthropic) -> Facts:
    """Begin a batch, look at it, cancel it."""
    requests: list[Request] = [
        {
            "custom_id": f"ask-{number}",
            "params": {"model": MODEL, "max_tokens": 64, "messages": [user("hello")]},
        }
        for number in (1, 2)
    ]
    begun = client.messages.batches.create(requests=requests)
    seen = client.messages.batches.retrieve(begun.id)
    cancelled = client.messages.batches.cancel(begun.id)
    return {
        "id": begun.id,
        "states": [each.processing_status for each in (begun, seen, cancelled)],
        "succeeded": seen.request_counts.succeeded,
    }


def results(client: Anthropic) -> Facts:
    """Read a batch's results as the SDK does: at the address that the batch names."""
    return {"results": [each.custom_id for each in client.messages.batches.results(BATCH)]}


def results_by_path(client: Anthropic) -> Facts:
    """Read a batch's results by their path."""
    text = client.get(f"/v1/messages/batches/{BATCH}/results", cast_to=str)
    return {"results": [json.loads(line)["custom_id"] for line in text.splitlines()]}


def files(client: Anthropic) -> Facts:
    """Upload a file, list, download and delete."""
    up = client.beta.files.upload(file=("table.csv", FILE, "text/csv"))
    listed = [each.id for each in client.beta.files.list()]
    content = client.beta.files.download(up.id).read()
    deleted = client.beta.files.delete(up.id)
    return {
        "id": up.id,
        "listed": listed,
        "same": content == FILE,
        "deleted": deleted.id,
    }


def leave(client: Anthropic) -> Facts:
    """Read the first event of a stream, and hang up."""
    with client.messages.stream(model=MODEL, max_tokens=64, messages=[user("open")]) as events:
        return {"first": next(iter(events)).type}


def bearer(client: Anthropic) -> Facts:
    """Ask with the token as ``ANTHROPIC_AUTH_TOKEN`` has it sent."""
    with Anthropic(
        base_url=client.base_url, api_key=None, auth_token=client.api_key, max_retries=0
    ) as other:
        return message(other)


def raises(
    call: Callable[[Anthropic, str], Facts], text: str, **options: float
) -> Callable[[Anthropic], Facts]:
    """Return a case that ends in an error."""

    def case(client: Anthropic) -> Facts:
        other = client.with_options(
            max_retries=int(options.get("retries", 0)), timeout=options.get("timeout", 20)
        )
        try:
            return {"returned": call(other, text)}
        except Exception as error:  # noqa: BLE001  # whatever a user would get
            return {
                "raised": type(error).__name__,
                "api_error": isinstance(error, anthropic.APIError),
                "status": getattr(error, "status_code", None),
                "message": str(error),
            }

    return case


CASES: dict[str, Callable[[Anthropic], Facts]] = {
    "message": message,
    "stream": stream,
    "tools": tools,
    "count": count,
    "models": models,
    "batches": batches,
    "results": raises(lambda client, _: results(client), ""),
    "results_by_path": results_by_path,
    "files": files,
    "limited": lambda client: message(client.with_options(max_retries=2), "limited once"),
    "invalid": raises(message, "400"),
    "overloaded": raises(message, "529"),
    "cut": raises(stream, "cut"),
    "reset": raises(stream, "reset"),
    "leave": leave,
    "silence": raises(message, "silence", timeout=0.3),
    "retried": raises(message, "hello", retries=5),
    "batch_retried": raises(lambda client, _: batches(client), "", retries=5),
    "away": raises(message, "hello"),
    "bearer": bearer,
}


def main() -> None:
    """Run the cases and print what came of each."""
    base_url, key, *cases = sys.argv[1:]
    say = {"case": "version", "version": anthropic.__version__}
    sys.stdout.write(json.dumps(say) + "\n")
    # What is not given is looked for in the environment.
    given = (None, None) if base_url == "-" else (base_url, key)
    with Anthropic(base_url=given[0], api_key=given[1], max_retries=0) as client:
        for name in cases:
            facts = CASES[name](client)
            sys.stdout.write(json.dumps({"case": name, **facts}) + "\n")


if __name__ == "__main__":
    main()
