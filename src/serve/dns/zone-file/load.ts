/** Fills in what zone files hold: a configuration as it was parsed to one that can be served. */
import { dirname, isAbsolute, join } from 'node:path';
import type { Config, Zone, ZoneFileRecord } from '../../../config/model.ts';
import { type ConfigProblem, formatPath } from '../../../config/problem.ts';
import { formatName, parseName, ROOT_NAME, readName, sameName } from '../wire/name.ts';
import { RECORD_TYPE } from '../wire/numbers.ts';
import { read32 } from '../wire/query.ts';
import { readZoneText } from './access.ts';
import { type IncludedText, readZoneFile } from './read.ts';

export interface LoadedZones {
  /** The same, with the records of the files that could be read. */
  readonly config: Config;
  readonly problems: readonly ConfigProblem[];
}

/** `inside`: the folder that an included file must be in; null for the zone file itself. */
export type TextReader = (path: string, inside: string | null) => IncludedText;

/** `configFile`: relative paths count from its folder. Reads files by `readText` only. */
export function loadZoneFiles(config: Config, configFile: string, readText: TextReader = readZoneText): LoadedZones {
  const problems: ConfigProblem[] = [];
  const zones = config.zones.map((zone) =>
    zone.file === null ? zone : loadZone(zone, configFile, readText, problems),
  );
  return { config: { ...config, zones }, problems };
}

function loadZone(zone: Zone, configFile: string, readText: TextReader, problems: ConfigProblem[]): Zone {
  const { file } = zone;
  if (file === null) return zone;
  const path = formatPath(['dns', 'zones', zone.name, 'file']);
  const fail = (message: string, remedy: string, where?: { file: string; line: number }) => {
    const place = where ?? { line: file.line };
    problems.push({ path, column: 1, value: file.path, message, remedy, ...place });
    return zone;
  };
  const name = parseName(zone.name, ROOT_NAME);
  if (!name.ok) return fail(name.reason, 'write a domain name');
  const named = pathOf(file.path, configFile);
  const main = readText(named, null);
  if (!main.ok) return fail(main.message, main.remedy);
  const folder = dirname(named);
  const files = new Set([named]);
  const { records, problems: found } = readZoneFile({
    text: main.text,
    file: named,
    zone: name.name,
    ttlSeconds: zone.ttlSeconds,
    include: (relative) => {
      files.add(join(folder, relative));
      return readText(join(folder, relative), folder);
    },
  });
  for (const problem of found) problems.push({ path, ...problem });
  if (found.length > 0) return zone;
  const at = (type: number) => records.filter((each) => each.type === type && sameName(each.owner, name.name));
  const authorities = at(RECORD_TYPE.SOA);
  const stray = records.find((each) => each.type === RECORD_TYPE.SOA && each !== authorities[0]);
  if (authorities.length === 0) {
    return fail(
      `the zone file has no SOA record at ${zone.name}`,
      'begin it with one: @ SOA ns1 hostmaster 1 1h 15m 14d 60',
      {
        file: named,
        line: 1,
      },
    );
  }
  if (stray !== undefined)
    return fail('a zone has one SOA record, at its own name', 'take this one away', {
      file: stray.file,
      line: stray.line,
    });
  if (at(RECORD_TYPE.NS).length === 0)
    return fail(`the zone file has no NS record at ${zone.name}`, 'add those of its name servers', {
      file: named,
      line: 1,
    });
  return describeZone({ ...zone, file: { ...file, records, files: [...files] } }, authorities[0], at(RECORD_TYPE.NS));
}

function pathOf(path: string, configFile: string): string {
  return isAbsolute(path) ? path : join(dirname(configFile), path);
}

/** Files that zones come from, and those that they include as far as they were read. */
export function zonePaths({ zones }: Config, configFile: string): string[] {
  return zones.flatMap(({ file }) => (file === null ? [] : [pathOf(file.path, configFile), ...file.files]));
}

/** What SOA and NS say, for whoever shows a zone. */
function describeZone(zone: Zone, soa: ZoneFileRecord, servers: readonly ZoneFileRecord[]): Zone {
  const { bytes } = soa.data;
  const primary = readName(bytes, 0, bytes.length, false);
  const contact = primary.ok ? readName(bytes, primary.next, bytes.length, false) : primary;
  if (!primary.ok || !contact.ok) throw new Error('an SOA record that was read has no names');
  const number = (index: number) => read32(bytes, contact.next + index * 4);
  return {
    ...zone,
    primaryServer: formatName(primary.name),
    contact: formatName(contact.name),
    serial: number(0),
    refreshSeconds: number(1),
    retrySeconds: number(2),
    expireSeconds: number(3),
    negativeTtlSeconds: number(4),
    nameServers: servers.map((server) => formatName(server.data.bytes)),
  };
}
