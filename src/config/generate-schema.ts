/**
 * Writes docs/portico.schema.json, the schema that editors use. With `--check` it compares instead, and fails when the file is
 * not what the schema in the source gives. The one file here that is a program: it may touch files.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createJsonSchema } from './schema.ts';

const TARGET = new URL('../../docs/portico.schema.json', import.meta.url);

const text = `${formatJson(createJsonSchema(), '', 0)}\n`;
if (!process.argv.includes('--check')) writeFileSync(TARGET, text);
else if (readCurrent() !== text) {
  process.stderr.write('docs/portico.schema.json is not what src/config/schema.ts gives: run npm run generate.\n');
  process.exitCode = 1;
}

function readCurrent(): string | null {
  try {
    return readFileSync(TARGET, 'utf8');
  } catch {
    return null;
  }
}

/** As Biome formats JSON: lists on one line where they fit 120 columns, maps never. `before`: columns taken on the line already. */
function formatJson(value: unknown, indent: string, before: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    const line = `[${value.map((item) => formatJson(item, deeper, 0)).join(', ')}]`;
    if (!line.includes('\n') && before + line.length < 120) return line;
    return `[\n${value.map((item) => deeper + formatJson(item, deeper, deeper.length)).join(',\n')}\n${indent}]`;
  }
  const lines = Object.entries(value).map(([key, item]) => {
    const start = `${deeper}${JSON.stringify(key)}: `;
    return start + formatJson(item, deeper, start.length);
  });
  return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n${indent}}`;
}
