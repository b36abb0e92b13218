"""Calls for `sdk.py`, with the facts that they come to; `openai_sdk.mjs` has the same."""

from __future__ import annotations

from openai import OpenAI as Client
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from openai.types.responses import FunctionToolParam, ResponseInputParam

Facts = dict[str, object]

MODEL = "gpt-5.5"
FILE = b'{"custom_id": "ask-1"}\r\n\x00\xff\xfe \xe2\x82\xac\n'
SCHEMA: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
CHAT_TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {"name": "weather", "description": "in °C", "parameters": SCHEMA},
}
TOOL: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "in °C",
    "parameters": SCHEMA,
    "strict": False,
}


def user(text: str) -> ChatCompletionMessageParam:
    """Return what a user says."""
    return {"role": "user", "content": text}


def chat(client: Client, text: str = "hello") -> Facts:
    """Ask once."""
    answer = client.chat.completions.create(model=MODEL, messages=[user(text)])
    return {"answer": answer.to_dict(), "request_id": answer._request_id}


def chat_stream(client: Client, text: str = "hello") -> Facts:
    """Ask for a stream with its usage, and read all of it."""
    with client.chat.completions.create(
        model=MODEL, messages=[user(text)], stream=True, stream_options={"include_usage": True}
    ) as chunks:
        return {"chunks": [chunk.to_dict() for chunk in chunks]}


def chat_stream_bare(client: Client) -> Facts:
    """Ask for a stream and not for its usage."""
    with client.chat.completions.create(
        model=MODEL, messages=[user("hello")], stream=True
    ) as chunks:
        return {"chunks": [chunk.to_dict() for chunk in chunks]}


def chat_tools(client: Client) -> Facts:
    """Have a tool used, and say what it found."""
    messages = [user("tool please")]
    with client.chat.completions.stream(
        model=MODEL, messages=messages, tools=[CHAT_TOOL]
    ) as events:
        message = events.get_final_completion().choices[0].message
    (call,) = message.tool_calls or []
    use: ChatCompletionMessageParam = {
        "role": "assistant",
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
        ],
    }
    messages += [use, {"role": "tool", "tool_call_id": call.id, "content": "fair"}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[CHAT_TOOL])
    return {"use": use, "answer": answer.to_dict()}


def response(client: Client, text: str = "hello") -> Facts:
    """Ask once, in the newer way."""
    answer = client.responses.create(model=MODEL, input=text)
    return {"text": answer.output_text, "answer": answer.to_dict()}


def response_stream(client: Client, text: str = "hello") -> Facts:
    """Ask for a stream, in the newer way."""
    with client.responses.create(model=MODEL, input=text, stream=True) as events:
        return {"events": [event.type for event in events]}


def response_tools(client: Client) -> Facts:
    """Have a tool used in the newer way."""
    given: ResponseInputParam = [{"role": "user", "content": "tool please"}]
    with client.responses.stream(model=MODEL, input=given, tools=[TOOL]) as events:
        (call,) = events.get_final_response().output
    assert call.type == "function_call"
    given += [
        {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
        },
        {"type": "function_call_output", "call_id": call.call_id, "output": "fair"},
    ]
    answer = client.responses.create(model=MODEL, input=given, tools=[TOOL])
    return {"name": call.name, "arguments": call.arguments, "text": answer.output_text}


def models(client: Client) -> Facts:
    """List the models, and get one."""
    return {
        "list": [model.id for model in client.models.list()],
        "one": client.models.retrieve("gpt-5").id,
    }


def embeddings(client: Client) -> Facts:
    """Embed a word."""
    found = client.embeddings.create(
        model="text-embedding-3-small", input="hello", encoding_format="float"
    )
    return {"embedding": found.data[0].embedding}


def files(client: Client) -> Facts:
    """Upload a file, list, download and delete."""
    up = client.files.create(file=("batch.jsonl", FILE, "application/jsonl"), purpose="batch")
    listed = [each.id for each in client.files.list()]
    content = client.files.content(up.id).read()
    deleted = client.files.delete(up.id)
    return {"id": up.id, "listed": listed, "same": content == FILE, "deleted": deleted.deleted}


def batches(client: Client) -> Facts:
    """Begin a batch, look at it, cancel it."""
    begun = client.batches.create(
        input_file_id="file-6F2ksmvXxt4VdoqmHRw6kL",
        endpoint="/v1/responses",
        completion_window="24h",
    )
    seen = client.batches.retrieve(begun.id)
    cancelled = client.batches.cancel(begun.id)
    return {"states": [each.status for each in (begun, seen, cancelled)]}


def leave(client: Client) -> Facts:
    """Read the first event of a stream, and hang up."""
    with client.responses.create(model=MODEL, input="open", stream=True) as events:
        return {"first": next(iter(events)).type}
