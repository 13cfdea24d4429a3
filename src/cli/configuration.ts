/** Configuration files, as the commands that act on them want them: checked, or an error for the user. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/model.ts';
import { parseConfig } from '../config/parse.ts';
import { CommandError } from './command.ts';

/** Throws `CommandError` with the first problem and how many there are. */
export function loadConfig(file: string): Config {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CommandError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  const parsed = parseConfig(text, file);
  if (parsed.ok) return parsed.config;
  const first = parsed.problems[0];
  const more = parsed.problems.length - 1;
  const others = more === 0 ? '' : ` (and ${more} more: portico check ${file})`;
  throw new CommandError(`${file}:${first?.line}: ${first?.path}: ${first?.message}; ${first?.remedy}${others}`);
}
