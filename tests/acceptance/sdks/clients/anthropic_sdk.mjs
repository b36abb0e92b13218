// Calls for `sdk.mjs`, with the facts that they come to; `anthropic_sdk.py` has the same.

import { Client, all, toFile } from "./package.mjs";

const MODEL = "claude-opus-5-1";
const BATCH = "msgbatch_01Hk7Pq2Rs4Tv6Wx8Yz0Ab3Cd5";
const FILE = Buffer.from("one,two\r\n\x00\xff\xfe not text \xe2\x82\xac\n", "latin1");
const WEATHER = {
  name: "weather",
  description: "The weather in a city, in °C",
  input_schema: { type: "object", properties: { city: { type: "string" } } },
};

const ask = (text) => ({
  model: MODEL,
  max_tokens: 64,
  messages: [{ role: "user", content: text }],
});

const ids = async (pages) => (await all(pages)).map((each) => each.id ?? each.custom_id);

export async function message(client, text = "hello") {
  const answer = await client.messages.create(ask(text));
  return { answer, request_id: answer._request_id };
}

export async function stream(client, text = "hello") {
  const events = client.messages.stream(ask(text));
  const kinds = [];
  for await (const event of events) kinds.push(event.type);
  return { events: kinds, answer: await events.finalMessage() };
}

export async function tools(client) {
  const first = { ...ask("tool please"), tools: [WEATHER] };
  const use = await client.messages.stream(first).finalMessage();
  const [block] = use.content;
  const result = { type: "tool_result", tool_use_id: block.id, content: "fair" };
  const messages = [
    ...first.messages,
    { role: "assistant", content: [block] },
    { role: "user", content: [result] },
  ];
  const answer = await client.messages.create({ ...first, messages });
  return { use, answer };
}

export async function count(client) {
  const { messages } = ask("hello");
  return client.messages.countTokens({ model: MODEL, messages });
}

export async function models(client) {
  const list = await ids(client.models.list({ limit: 5 }));
  return { list, one: (await client.models.retrieve(MODEL)).id };
}

export async function batches(client) {
  const requests = [1, 2].map((number) => ({ custom_id: `ask-${number}`, params: ask("hello") }));
  const begun = await client.messages.batches.create({ requests });
  const seen = await client.messages.batches.retrieve(begun.id);
  const cancelled = await client.messages.batches.cancel(begun.id);
  return {
    id: begun.id,
    states: [begun, seen, cancelled].map((each) => each.processing_status),
    succeeded: seen.request_counts.succeeded,
  };
}

export async function results(client) {
  return { results: await ids(await client.messages.batches.results(BATCH)) };
}

export async function results_by_path(client) {
  const path = `/v1/messages/batches/${BATCH}/results`;
  const text = await (await client.get(path).asResponse()).text();
  const lines = text.trimEnd().split("\n");
  return { results: lines.map((line) => JSON.parse(line).custom_id) };
}

export async function files(client) {
  const file = await toFile(FILE, "table.csv", { type: "text/csv" });
  const up = await client.beta.files.upload({ file });
  const listed = await ids(client.beta.files.list());
  const content = Buffer.from(await (await client.beta.files.download(up.id)).arrayBuffer());
  const deleted = await client.beta.files.delete(up.id);
  return { id: up.id, listed, same: content.equals(FILE), deleted: deleted.id };
}

export async function leave(client) {
  const events = client.messages.stream(ask("open"));
  for await (const event of events) return { first: event.type };
}

export async function bearer({ baseURL, apiKey }) {
  return message(new Client({ baseURL, apiKey: null, authToken: apiKey, maxRetries: 0 }));
}
