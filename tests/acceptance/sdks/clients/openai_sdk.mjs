// Calls by OpenAI's SDK for TypeScript: what came of each, as a line of JSON.
// Runs as `node openai_sdk.mjs PACKAGE BASE_URL KEY CASE...`, where PACKAGE is a folder. The same
// cases with the same facts are in `openai_sdk.py`.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, baseURL, apiKey, ...cases] = process.argv.slice(2);
const { default: OpenAI, toFile } = await import(pathToFileURL(join(folder, "index.mjs")));
const { version } = JSON.parse(readFileSync(join(folder, "package.json")));

const MODEL = "gpt-5.5";
const FILE = Buffer.from('{"custom_id": "ask-1"}\r\n\x00\xff\xfe \xe2\x82\xac\n', "latin1");
const SCHEMA = { type: "object", properties: { city: { type: "string" } } };
const FUNCTION = { name: "weather", description: "in °C", parameters: SCHEMA };
const CHAT_TOOL = { type: "function", function: FUNCTION };
const TOOL = { type: "function", ...FUNCTION, strict: false };

const ask = (text) => ({ model: MODEL, messages: [{ role: "user", content: text }] });

const all = async (pages) => {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
};

const ids = async (pages) => (await all(pages)).map((each) => each.id);

async function chat(client, text = "hello – ünïcode\u2028and more") {
  const answer = await client.chat.completions.create(ask(text));
  return { answer, request_id: answer._request_id };
}

async function chat_stream(client, text = "hello") {
  const options = { stream: true, stream_options: { include_usage: true } };
  return { chunks: await all(await client.chat.completions.create({ ...ask(text), ...options })) };
}

async function chat_stream_bare(client) {
  const asked = { ...ask("hello"), stream: true };
  return { chunks: await all(await client.chat.completions.create(asked)) };
}

async function chat_tools(client) {
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

async function response(client, text = "hello") {
  const answer = await client.responses.create({ model: MODEL, input: text });
  return { text: answer.output_text, answer };
}

async function response_stream(client, text = "hello") {
  const events = await client.responses.create({ model: MODEL, input: text, stream: true });
  return { events: (await all(events)).map((event) => event.type) };
}

async function response_tools(client) {
  const input = [{ role: "user", content: "tool please" }];
  const events = client.responses.stream({ model: MODEL, input, tools: [TOOL] });
  const { call_id, name, arguments: given } = (await events.finalResponse()).output[0];
  const use = { type: "function_call", call_id, name, arguments: given };
  const result = { type: "function_call_output", call_id, output: "fair" };
  const next = { model: MODEL, input: [...input, use, result], tools: [TOOL] };
  return { name, arguments: given, text: (await client.responses.create(next)).output_text };
}

async function models(client) {
  return { list: await ids(client.models.list()), one: (await client.models.retrieve("gpt-5")).id };
}

async function embeddings(client) {
  const model = "text-embedding-3-small";
  const asked = { model, input: "hello", encoding_format: "float" };
  return { embedding: (await client.embeddings.create(asked)).data[0].embedding };
}

async function files(client) {
  const file = await toFile(FILE, "batch.jsonl", { type: "application/jsonl" });
  const up = await client.files.create({ file, purpose: "batch" });
  const listed = await ids(client.files.list());
  const content = Buffer.from(await (await client.files.content(up.id)).arrayBuffer());
  const { deleted } = await client.files.delete(up.id);
  return { id: up.id, listed, same: content.equals(FILE), deleted };
}

async function batches(client) {
  const begun = await client.batches.create({
    input_file_id: "file-6F2ksmvXxt4VdoqmHRw6kL",
    endpoint: "/v1/responses",
    completion_window: "24h",
  });
  const seen = await client.batches.retrieve(begun.id);
  const cancelled = await client.batches.cancel(begun.id);
  return { states: [begun, seen, cancelled].map((each) => each.status) };
}

async function leave(client) {
  const events = await client.responses.create({ model: MODEL, input: "open", stream: true });
  for await (const event of events) return { first: event.type };
}

const raises =
  (call, text, { retries = 0, timeout = 20_000 } = {}) =>
  async (client) => {
    const other = client.withOptions({ maxRetries: retries, timeout });
    try {
      return { returned: await call(other, text) };
    } catch (error) {
      return {
        raised: error.constructor.name,
        status: error.status ?? null,
        message: error.message,
      };
    }
  };

const CASES = {
  chat: (client) => chat(client),
  chat_stream: (client) => chat_stream(client),
  chat_stream_bare,
  chat_tools,
  response: (client) => response(client),
  response_stream: (client) => response_stream(client),
  response_tools,
  models,
  embeddings,
  files,
  batches: raises(batches, ""),
  limited: (client) => response(client.withOptions({ maxRetries: 2 }), "limited once"),
  invalid: raises(response, "400"),
  overloaded: raises(chat, "529"),
  chat_cut: raises(chat_stream, "cut"),
  response_cut: raises(response_stream, "cut"),
  reset: raises(response_stream, "reset"),
  leave,
  silence: raises(response, "silence", { timeout: 300 }),
  retried: raises(response, "hello", { retries: 5 }),
  batch_retried: raises(batches, "", { retries: 5 }),
  away: raises(response, "hello"),
};

const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");
const given = baseURL === "-" ? {} : { baseURL, apiKey };
const client = new OpenAI({ ...given, maxRetries: 0 });
say({ case: "version", version });
for (const name of cases) say({ case: name, ...(await CASES[name](client)) });
