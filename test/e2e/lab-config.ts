/** What the lab's tests share: the example configuration, and a place of their own beside other labs. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../src/config/model.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { type LabPlace, labPlace } from '../../src/lab/place.ts';

export function exampleConfig(): Config {
  const path = fileURLToPath(new URL('../../examples/two-sites.yaml', import.meta.url));
  const parsed = parseConfig(readFileSync(path, 'utf8'), path);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

/** Test files run at the same time: each lab has names of its own. */
export const place = labPlace(`lab${process.pid}`) as LabPlace;
