// Calls for `sdk.mjs`, with the facts that they come to; `openai_sdk.py` has the same.

import { all, toFile } from "./package.mjs";

const MODEL = "gpt-5.5";
const FILE = Buffer.from('{"custom_id": "ask-1"}\r\n\x00\xff\xfe \xe2\x82\xac\n', "latin1");
const SCHEMA = { type: "object", properties: { city: { type: "string" } } };
const FUNCTION = { name: "weather", description: "in °C", parameters: SCHEMA };
const CHAT_TOOL = { type: "function", function: FUNCTION };
const TOOL = { type: "function", ...FUNCTION, strict: false };

const ask = (text) => ({ model: MODEL, messages: [{ role: "user", content: text }] });

const ids = async (pages) => (await all(pages)).map((each) => each.id);

export async function chat(client, text = "hello") {
  const answer = await client.chat.completions.create(ask(text));
  return { answer, request_id: answer._request_id };
}

export async function chat_stream(client, text = "hello") {
  const options = { stream: true, stream_options: { include_usage: true } };
  return { chunks: await all(await client.chat.completions.create({ ...ask(text), ...options })) };
}

export async function chat_stream_bare(client) {
  const asked = { ...ask("hello"), stream: true };
  return { chunks: await all(await client.chat.completions.create(asked)) };
}

export async function chat_tools(client) {
  const first = { ...ask("tool please"), tools: [CHAT_TOOL] };
  const events = client.chat.completions.stream(first);
  const [call] = (await events.finalChatCompletion()).choices[0].message.tool_calls;
  const { name, arguments: given } = call.function;
  const calls = [{ id: call.id, type: "function", function: { name, arguments: given } }];
  const use = { role: "assistant", tool_calls: calls };
  const result = { role: "tool", tool_call_id: call.id, content: "fair" };
  const messages = [...first.messages, use, result];
  return { use, answer: await client.chat.completions.create({ ...first, messages }) };
}

export async function response(client, text = "hello") {
  const answer = await client.responses.create({ model: MODEL, input: text });
  return { text: answer.output_text, answer };
}

export async function response_stream(client, text = "hello") {
  const events = await client.responses.create({ model: MODEL, input: text, stream: true });
  return { events: (await all(events)).map((event) => event.type) };
}

export async function response_tools(client) {
  const input = [{ role: "user", content: "tool please" }];
  const events = client.responses.stream({ model: MODEL, input, tools: [TOOL] });
  const { call_id, name, arguments: given } = (await events.finalResponse()).output[0];
  const use = { type: "function_call", call_id, name, arguments: given };
  const result = { type: "function_call_output", call_id, output: "fair" };
  const next = { model: MODEL, input: [...input, use, result], tools: [TOOL] };
  return { name, arguments: given, text: (await client.responses.create(next)).output_text };
}

export async function models(client) {
  return { list: await ids(client.models.list()), one: (await client.models.retrieve("gpt-5")).id };
}

export async function embeddings(client) {
  const model = "text-embedding-3-small";
  const asked = { model, input: "hello", encoding_format: "float" };
  return { embedding: (await client.embeddings.create(asked)).data[0].embedding };
}

export async function files(client) {
  const file = await toFile(FILE, "batch.jsonl", { type: "application/jsonl" });
  const up = await client.files.create({ file, purpose: "batch" });
  const listed = await ids(client.files.list());
  const content = Buffer.from(await (await client.files.content(up.id)).arrayBuffer());
  const { deleted } = await client.files.delete(up.id);
  return { id: up.id, listed, same: content.equals(FILE), deleted };
}

export async function batches(client) {
  const begun = await client.batches.create({
    input_file_id: "file-6F2ksmvXxt4VdoqmHRw6kL",
    endpoint: "/v1/responses",
    completion_window: "24h",
  });
  const seen = await client.batches.retrieve(begun.id);
  const cancelled = await client.batches.cancel(begun.id);
  return { states: [begun, seen, cancelled].map((each) => each.status) };
}

export async function leave(client) {
  const events = await client.responses.create({ model: MODEL, input: "open", stream: true });
  for await (const event of events) return { first: event.type };
}
