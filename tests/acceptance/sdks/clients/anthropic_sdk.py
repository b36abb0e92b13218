"""Calls for `sdk.py`, with the facts that they come to; `anthropic_sdk.mjs` has the same."""

from __future__ import annotations

import json

from anthropic import Anthropic as Client
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


def message(client: Client, text: str = "hello") -> Facts:
    """Ask once."""
    answer = client.messages.create(model=MODEL, max_tokens=64, messages=[user(text)])
    return {"answer": answer.to_dict(), "request_id": answer._request_id}


def stream(client: Client, text: str = "hello") -> Facts:
    """Ask for a stream and read all of it."""
    with client.messages.stream(model=MODEL, max_tokens=64, messages=[user(text)]) as events:
        kinds = [event.type for event in events]
        return {"events": kinds, "answer": events.get_final_message().to_dict()}


def tools(client: Client) -> Facts:
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


def count(client: Client) -> Facts:
    """Have tokens counted."""
    return client.messages.count_tokens(model=MODEL, messages=[user("hello")]).to_dict()


def models(client: Client) -> Facts:
    """List the models, and get one."""
    found = [model.id for model in client.models.list(limit=5)]
    return {"list": found, "one": client.models.retrieve(MODEL).id}


def batches(client: Client) -> Facts:
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


def results(client: Client) -> Facts:
    """Read a batch's results as the SDK does: at the address that the batch names."""
    return {"results": [each.custom_id for each in client.messages.batches.results(BATCH)]}


def results_by_path(client: Client) -> Facts:
    """Read a batch's results by their path."""
    text = client.get(f"/v1/messages/batches/{BATCH}/results", cast_to=str)
    return {"results": [json.loads(line)["custom_id"] for line in text.splitlines()]}


def files(client: Client) -> Facts:
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


def leave(client: Client) -> Facts:
    """Read the first event of a stream, and hang up."""
    with client.messages.stream(model=MODEL, max_tokens=64, messages=[user("open")]) as events:
        return {"first": next(iter(events)).type}


def bearer(client: Client) -> Facts:
    """Ask with the token as ``ANTHROPIC_AUTH_TOKEN`` has it sent."""
    with Client(
        base_url=client.base_url, api_key=None, auth_token=client.api_key, max_retries=0
    ) as other:
        return message(other)
