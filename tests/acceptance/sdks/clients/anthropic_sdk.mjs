// Calls by Anthropic's SDK for TypeScript: what came of each, as a line of JSON.
// Runs as `node anthropic_sdk.mjs PACKAGE BASE_URL KEY CASE...`, where PACKAGE is a folder,
// and with - for BASE_URL and KEY where the environment has them. The same cases with the same
// facts are in `anthropic_sdk.py`.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, baseURL, apiKey, ...cases] = process.argv.slice(2);
const { default: Anthropic, toFile } = await import(pathToFileURL(join(folder, "index.mjs")));
const { version } = JSON.parse(readFileSync(join(folder, "package.json")));

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

const all = async (pages) => {
  const found = [];
  for await (const each of pages) found.push(each.id ?? each.custom_id);
  return found;
};

async function message(client, text = "hello – ünïcode\u2028and more") {
  const answer = await client.messages.create(ask(text));
  return { answer, request_id: answer._request_id };
}

async function stream(client, text = "hello") {
  const events = client.messages.stream(ask(text));
  const kinds = [];
  for await (const event of events) kinds.push(event.type);
  return { events: kinds, answer: await events.finalMessage() };
}

async function tools(client) {
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

async function count(client) {
  const { messages } = ask("hello");
  return client.messages.countTokens({ model: MODEL, messages });
}

async function models(client) {
  const list = await all(client.models.list({ limit: 5 }));
  return { list, one: (await client.models.retrieve(MODEL)).id };
}

async function batches(client) {
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

async function results(client) {
  return { results: await all(await client.messages.batches.results(BATCH)) };
}

async function results_by_path(client) {
  const path = `/v1/messages/batches/${BATCH}/results`;
  const text = await (await client.get(path).asResponse()).text();
  const lines = text.trimEnd().split("\n");
  return { results: lines.map((line) => JSON.parse(line).custom_id) };
}

async function files(client) {
  const file = await toFile(FILE, "table.csv", { type: "text/csv" });
  const up = await client.beta.files.upload({ file });
  const listed = await all(client.beta.files.list());
  const content = Buffer.from(await (await client.beta.files.download(up.id)).arrayBuffer());
  const deleted = await client.beta.files.delete(up.id);
  return { id: up.id, listed, same: content.equals(FILE), deleted: deleted.id };
}

async function leave(client) {
  const events = client.messages.stream(ask("open"));
  for await (const event of events) return { first: event.type };
}

async function bearer() {
  return message(new Anthropic({ baseURL, apiKey: null, authToken: apiKey, maxRetries: 0 }));
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
        api_error: error instanceof Anthropic.AnthropicError,
        status: error.status ?? null,
        message: error.message,
      };
    }
  };

const CASES = {
  message: (client) => message(client),
  stream: (client) => stream(client),
  tools,
  count,
  models,
  batches,
  results: raises(results, ""),
  results_by_path,
  files,
  limited: (client) => message(client.withOptions({ maxRetries: 2 }), "limited once"),
  invalid: raises(message, "400"),
  overloaded: raises(message, "529"),
  cut: raises(stream, "cut"),
  reset: raises(stream, "reset"),
  leave,
  silence: raises(message, "silence", { timeout: 300 }),
  retried: raises(message, "hello", { retries: 5 }),
  batch_retried: raises(batches, "", { retries: 5 }),
  away: raises(message, "hello"),
  bearer,
};

const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");
const given = baseURL === "-" ? {} : { baseURL, apiKey };
const client = new Anthropic({ ...given, maxRetries: 0 });
say({ case: "version", version });
for (const name of cases) say({ case: name, ...(await CASES[name](client)) });
