// An SDK for TypeScript makes the calls of `cases.json`: what came of each, as a line of JSON.
// Runs as `node sdk.mjs PACKAGE API BASE_URL KEY CASE...`, where PACKAGE is a folder, and with - for
// BASE_URL and KEY where the environment has them. `sdk.py` does the same with an SDK for Python.

import { readFileSync } from "node:fs";
import { Client, version } from "./package.mjs";

const [api, baseURL, apiKey, ...names] = process.argv.slice(3);
const cases = JSON.parse(readFileSync(new URL("cases.json", import.meta.url)))[api];
const calls = await import(`./${api}_sdk.mjs`);
const ApiError = Client.AnthropicError ?? Client.OpenAIError;

async function factsOf(client, { call, text, retries = 0, seconds = 20, raises = false }) {
  const other = client.withOptions({ maxRetries: retries, timeout: 1000 * seconds });
  try {
    const facts = await calls[call](other, text);
    return raises ? { returned: facts } : facts;
  } catch (error) {
    if (!raises) throw error;
    return {
      raised: error.constructor.name,
      api_error: error instanceof ApiError,
      status: error.status ?? null,
      message: error.message,
    };
  }
}

const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");
const given = baseURL === "-" ? {} : { baseURL, apiKey };
const client = new Client({ ...given, maxRetries: 0 });
say({ case: "version", version });
for (const name of names) say({ case: name, ...(await factsOf(client, cases[name])) });
