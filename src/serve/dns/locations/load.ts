/** Fills in what files say of clients: a configuration as it was parsed to one whose `clients` are known. */
import { basename, dirname, isAbsolute, join } from 'node:path';
import { DATABASE_KINDS, type DatabaseKind, type FileReference } from '../../../config/location-files.ts';
import type { Config } from '../../../config/model.ts';
import { type ConfigProblem, formatPath, type Path } from '../../../config/problem.ts';
import { formatPrefix, type Prefix } from '../../../net/address.ts';
import type { FileBytes } from '../bounded-file.ts';
import { readLocationFile } from './access.ts';
import { type DatabaseLayer, readDatabase } from './database.ts';
import { type EntryPlace, EntryTable } from './entry-table.ts';
import { combineLayers } from './layers.ts';
import { readListFile } from './list-file.ts';

/** Of one file: a list of the wrong kind is wrong in every line. */
const MAX_PROBLEMS = 200;
const MAX_LISTS = 1000;

export interface LoadedLocations {
  /** The same, with `clients` if there are files and all could be read. */
  readonly config: Config;
  readonly problems: readonly ConfigProblem[];
}

export type BytesReader = (path: string) => FileBytes;

/** `configFile`: relative paths count from its folder. Reads files by `readBytes` only. Cost: seconds for a million networks. */
export function loadLocations(
  config: Config,
  configFile: string,
  readBytes: BytesReader = readLocationFile,
): LoadedLocations {
  const { lists, ...databases } = config.locationFiles;
  const named = DATABASE_KINDS.filter((kind) => databases[kind] !== null);
  if (lists.length === 0 && named.length === 0) return { config, problems: [] };
  const problems: ConfigProblem[] = [];
  const source: Source = { config, configFile, readBytes, problems };
  const table = new EntryTable();
  table.addNetworks(config.networks);
  for (const [index, file] of lists.entries()) readList(source, file, index, table);
  const layers = named.flatMap((kind) => readLayer(source, databases[kind] as FileReference, kind) ?? []);
  const { entries, groupOf } = table.finish(twinTeller(problems));
  if (problems.length > 0) return { config, problems };
  const clients = {
    ...combineLayers(entries, { groups: table.groups, groupOf }, layers),
    maps: [],
    cutAt: '',
    entries,
    databases: named.map((kind) => ({ kind, file: resolvePath(databases[kind]?.path ?? '', configFile) })),
  };
  return { config: { ...config, clients }, problems };
}

/** Where the files of a configuration are. */
export function locationPaths({ locationFiles }: Config, configFile: string): string[] {
  const { lists, city, country, asn } = locationFiles;
  const files = [...lists, city, country, asn].filter((file) => file !== null);
  return files.map(({ path }) => resolvePath(path, configFile));
}

export function resolvePath(path: string, configFile: string): string {
  return isAbsolute(path) ? path : join(dirname(configFile), path);
}

interface Source {
  readonly config: Config;
  readonly configFile: string;
  readonly readBytes: BytesReader;
  readonly problems: ConfigProblem[];
}

/** What is wrong with a file as a whole stands where it is named. */
function fail(
  { problems }: Source,
  path: Path,
  { path: value, line }: FileReference,
  message: string,
  remedy: string,
): null {
  problems.push({ path: formatPath(path), line, column: 1, value, message, remedy });
  return null;
}

function readList(source: Source, file: FileReference, index: number, table: EntryTable): void {
  const path = ['dns', 'networkLists', index];
  const named = resolvePath(file.path, source.configFile);
  if (index >= MAX_LISTS) {
    if (index === MAX_LISTS) fail(source, path, file, `there are more than ${MAX_LISTS} lists`, 'put them together');
    return;
  }
  const text = readText(source, path, file, named);
  if (text === null) return;
  const [number, name] = [table.addFile(named), basename(file.path)];
  let found = 0;
  readListFile(
    text,
    new Set(source.config.sites.keys()),
    (entry) => table.addListed(entry, number, name),
    (problem) => {
      const where = { path: formatPath(path), file: named, column: 1 };
      if (++found <= MAX_PROBLEMS) source.problems.push({ ...where, ...problem });
    },
  );
}

function readText(source: Source, path: Path, file: FileReference, named: string): string | null {
  const read = source.readBytes(named);
  if (!read.ok) return fail(source, path, file, read.message, read.remedy);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(read.bytes);
  } catch {
    return fail(source, path, file, `${named} is not UTF-8`, 'convert it, or name another');
  }
}

function readLayer(source: Source, file: FileReference, kind: DatabaseKind): DatabaseLayer | null {
  const path = ['dns', 'geo', kind];
  const named = resolvePath(file.path, source.configFile);
  const read = source.readBytes(named);
  if (!read.ok) return fail(source, path, file, read.message, read.remedy);
  const result = readDatabase(read.bytes, kind);
  if (result.ok) return result.layer;
  const remedy = 'name an MMDB file with them, as MaxMind and others publish it';
  return fail(source, path, file, `${named}: ${result.reason}`, remedy);
}

function twinTeller(problems: ConfigProblem[]) {
  let found = 0;
  return (prefix: Prefix, a: EntryPlace, b: EntryPlace) => {
    if (++found > MAX_PROBLEMS) return;
    // Told where it can be told: the configuration's own twins were found before.
    const [later, earlier] = a.file === null ? [b, a] : [a, b];
    const file = later.file as string;
    const message =
      earlier.file === null
        ? 'the prefix stands in dns.networks of the configuration too'
        : `the prefix stands in ${earlier.file}:${earlier.line} too`;
    const where = { path: 'dns.networkLists', file, line: later.line, column: 1 };
    problems.push({ ...where, value: formatPrefix(prefix), message, remedy: 'take one of the two away' });
  };
}
