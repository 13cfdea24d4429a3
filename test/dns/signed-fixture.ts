/** A running server with signed zones, their keys in a folder of its own, and what validators need to believe in them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../../src/config/model.ts';
import { readKeys, writeKeys } from '../../src/serve/dns/dnssec/key-folder.ts';
import { firstKeys, type ZoneKeys } from '../../src/serve/dns/dnssec/key-roll.ts';
import { dnskeyData, dsData, type ZoneKey } from '../../src/serve/dns/dnssec/zone-key.ts';
import { record, testConfig, testProtocol, zone } from '../../src/serve/dns/sample.ts';
import type { DnsServerOptions } from '../../src/serve/dns/server.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { type RunningServer, startServer } from './fixture.ts';

export const DAY_MS = 86_400_000;

/** The sample's zones, signed, and below one of them a signed zone, an unsigned one, and delegations of both kinds. */
export function signedConfig(keyFolder: string, dnssec: Partial<Config['dnsProtocol']['dnssec']> = {}): Config {
  const config = testConfig();
  const more = [
    record('open.example.test', 'NS', 'ns.open'),
    record('ns.open.example.test', 'A', '192.0.2.91'),
    record('Mixed.Case.example.test', 'SRV', '0 1 143 Mail1.Example.Test.'),
    record('legacy.example.test', 'TYPE18', '\\# 12 0001 03 466f6f 04 54657374 00'),
  ];
  const zones = config.zones.map((each, index) => {
    const records = index === 0 ? [...each.records, ...more] : each.records;
    return { ...each, records: records.filter(({ type }) => !type.startsWith('CD')), isSigned: true };
  });
  const inner = { ...zone('inner.example.test', [record('x.inner.example.test', 'TXT', 'inner')]), isSigned: true };
  const bare = zone('bare.example.test', [record('x.bare.example.test', 'TXT', 'bare')]);
  const protocol = testProtocol();
  return {
    ...config,
    zones: [...zones, inner, bare],
    dnsProtocol: { ...protocol, dnssec: { ...protocol.dnssec, keyFolder, ...dnssec } },
  };
}

export interface SignedServer extends RunningServer {
  readonly config: Config;
  readonly keyFolder: string;
  keysOf(zone: string): ZoneKeys;
  stop(): Promise<void>;
}

export async function startSigned(
  dnssec: Partial<Config['dnsProtocol']['dnssec']> = {},
  options: Partial<DnsServerOptions> = {},
): Promise<SignedServer> {
  const keyFolder = mkdtempSync(join(tmpdir(), 'portico-keys-'));
  const config = options.config ?? signedConfig(keyFolder, dnssec);
  for (const { name, isSigned } of config.zones)
    if (isSigned) writeKeys(keyFolder, firstKeys(name, Date.now() - DAY_MS));
  const running = await startServer({ ...options, config });
  const keysOf = (name: string): ZoneKeys => {
    const read = readKeys(keyFolder, name);
    if (!read.ok) throw new Error(read.reason);
    return read.keys;
  };
  const stop = async () => {
    await running.server.stop();
    rmSync(keyFolder, { recursive: true });
  };
  return { ...running, config, keyFolder, keysOf, stop };
}

/** DS records in presentation format. */
export function dsLine(zoneName: string, key: ZoneKey): string {
  const parsed = parseName(zoneName, ROOT_NAME);
  if (!parsed.ok) throw new Error(parsed.reason);
  const data = dsData(parsed.name, key);
  return `${zoneName}. IN DS ${key.tag} ${data[2]} ${data[3]} ${Buffer.from(data.subarray(4)).toString('hex')}`;
}

export function dnskeyLine(zoneName: string, key: ZoneKey): string {
  return `${zoneName}. IN DNSKEY 257 3 13 ${Buffer.from(dnskeyData(key.publicKey).subarray(4)).toString('base64')}`;
}

/** A trust anchor for delv. */
export function writeDelvAnchors(path: string, anchors: readonly (readonly [zone: string, key: ZoneKey])[]): void {
  const lines = anchors.map(([name, { publicKey }]) => {
    const key = Buffer.from(publicKey).toString('base64');
    return `  "${name}." static-key 257 3 13 "${key}";`;
  });
  writeFileSync(path, `trust-anchors {\n${lines.join('\n')}\n};\n`);
}
