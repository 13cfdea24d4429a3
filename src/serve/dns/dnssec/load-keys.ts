/** The keys of all signed zones, from their files. */
import type { Config } from '../../../config/model.ts';
import type { ConfigProblem } from '../../../config/problem.ts';
import { keyFileVersion, readKeys } from './key-folder.ts';
import type { ZoneKeys } from './key-roll.ts';

export interface LoadedKeys {
  readonly keys: readonly ZoneKeys[];
  readonly problems: readonly ConfigProblem[];
  /** Of the same, by zone: what is wrong. */
  readonly reasons: ReadonlyMap<string, string>;
}

/** What is wrong with the files is told with what to do; a zone without a good one is not in `keys`. */
export function loadKeys({ zones, dnsProtocol }: Config): LoadedKeys {
  const keys: ZoneKeys[] = [];
  const problems: ConfigProblem[] = [];
  const reasons = new Map<string, string>();
  for (const { name, isSigned } of zones) {
    if (!isSigned) continue;
    const read = readKeys(dnsProtocol.dnssec.keyFolder, name);
    if (read.ok) {
      keys.push(read.keys);
      continue;
    }
    const remedy = read.isMissing
      ? `make its key: portico dnssec generate FILE ${name}, or take the file of another name server of the zone`
      : 'put a good copy of it there; the other name servers of the zone have the same';
    const how = read.isMissing ? ` (portico dnssec generate FILE ${name} makes it)` : '';
    const message = `the key file ${read.path} of the zone cannot be used: ${read.reason}${how}`;
    reasons.set(name, message);
    problems.push({ path: `dns.zones.${name}.dnssec`, line: 1, column: 1, value: 'true', message, remedy });
  }
  return { keys, problems, reasons };
}

/** Another text whenever one of the files changed. */
export function keyVersions({ zones, dnsProtocol }: Config): string {
  const { keyFolder } = dnsProtocol.dnssec;
  return zones.flatMap(({ name, isSigned }) => (isSigned ? `${name} ${keyFileVersion(keyFolder, name)}` : [])).join();
}
