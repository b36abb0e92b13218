// The SDK for TypeScript in the folder that is named first.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
export const { default: Client, toFile } = await import(pathToFileURL(join(folder, "index.mjs")));
export const { version } = JSON.parse(readFileSync(join(folder, "package.json")));

export async function all(pages) {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
}
