/** Configuration files, as the commands that act on them want them: checked, or an error for the user. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/model.ts';
import { type ParseResult, parseConfig } from '../config/parse.ts';
import { NO_STEERING_STATE, type SteeringState } from '../config/steering-model.ts';
import { loadLocations } from '../serve/dns/locations/load.ts';
import { compileZones } from '../serve/dns/zone-compile.ts';
import { loadZoneFiles } from '../serve/dns/zone-file/load.ts';
import { CommandError } from './command.ts';

/** Throws `CommandError` when the file cannot be read, or with the first problem in it and how many there are. */
export function loadConfig(file: string, state: SteeringState = NO_STEERING_STATE): Config {
  const checked = checkFile(file, state);
  if (checked.ok) return checked.config;
  const first = checked.problems[0];
  const more = checked.problems.length - 1;
  const others = more === 0 ? '' : ` (and ${more} more: portico check ${file})`;
  throw new CommandError(
    `${first?.file ?? file}:${first?.line}: ${first?.path}: ${first?.message}; ${first?.remedy}${others}`,
  );
}

/**
 * What the parser finds; in a configuration that it takes, what is wrong in zone files and files of locations; and when those are read, what the DNS server
 * would refuse: loops of aliases, data of records. Throws `CommandError` when the file cannot be read.
 */
export function checkFile(file: string, state: SteeringState = NO_STEERING_STATE): ParseResult {
  const parsed = parseConfig(readText(file), file);
  if (!parsed.ok) return parsed;
  const located = loadLocations({ ...parsed.config, steeringState: state }, file);
  const loaded = loadZoneFiles(located.config, file);
  const problems = [...loaded.problems, ...located.problems];
  if (problems.length > 0) return { ok: false, file, problems, warnings: parsed.warnings };
  const compiled = compileZones(loaded.config);
  const told = new Set(parsed.warnings.map(({ path, line }) => `${path} ${line}`));
  const warnings = [...parsed.warnings, ...compiled.warnings.filter(({ path, line }) => !told.has(`${path} ${line}`))];
  return compiled.ok
    ? { ...parsed, config: loaded.config, warnings }
    : { ok: false, file, problems: compiled.problems, warnings };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new CommandError(`There is no file ${file}.`);
    if (code === 'EISDIR') throw new CommandError(`${file} is a folder; name the configuration in it.`);
    throw new CommandError(`${file} cannot be read: ${code ?? String(error)}.`);
  }
}
