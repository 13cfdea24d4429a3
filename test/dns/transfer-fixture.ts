/** Configurations with secondaries, and transfers as dig and plain sockets get them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Config, StaticRecord } from '../../src/config/model.ts';
import type { Secondary, TransferKey } from '../../src/config/transfers.ts';
import { parsePrefix } from '../../src/net/address.ts';
import { testConfig, testTransfers, zone } from '../../src/serve/dns/sample.ts';
import { decodeMessage, type Message } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';
import { framed, open } from './tcp-client.ts';

export const KEY: TransferKey = {
  name: 'transfer.example.test',
  algorithm: 'hmac-sha256',
  secret: Uint8Array.from({ length: 32 }, (_, i) => i + 1),
};
export const KEY_512: TransferKey = { ...KEY, name: 'other-key', algorithm: 'hmac-sha512' };

/** As `dig -y` wants it. */
export function keyArgument({ name, algorithm, secret }: TransferKey = KEY): string {
  return `-y ${algorithm}:${name}:${Buffer.from(secret).toString('base64')}`;
}

export function secondary(changes: Partial<Secondary> = {}): Secondary {
  return { name: 'ns9', from: [], notify: [], key: KEY.name, zones: null, ...changes };
}

export function prefix(text: string) {
  const parsed = parsePrefix(text);
  assert.ok(parsed !== null, text);
  return parsed;
}

/** The sample configuration with these secondaries and both keys. */
export function withSecondaries(
  secondaries: readonly Secondary[],
  changes: Partial<Config> = {},
  limits = { maxAtOnce: 10, journalBytes: 65_536 },
): Config {
  const keys = new Map([KEY, KEY_512].map((key) => [key.name, key]));
  const named = new Map(secondaries.map((each) => [each.name, each]));
  return testConfig({ transfers: testTransfers({ keys, secondaries: named, limits }), ...changes });
}

/** One zone `example.test` with these records beside its name server, and this serial. */
export function oneZone(records: readonly StaticRecord[], serial: number, isSerialCounted = false): Partial<Config> {
  const server = { name: 'ns1.example.test', type: 'A', data: '192.0.2.53', ttlSeconds: 3600, line: 1 };
  return {
    zones: [{ ...zone('example.test', [server, ...records]), serial, isSerialCounted }],
    services: new Map(),
  };
}

/** One zone `example.test` with so many records of type 65280 and so many bytes, as a zone file gives them: nothing of it is parsed. */
export function wireZone(count: number, dataBytes: number, serial = 1): Partial<Config> {
  const name = (text: string) => {
    const parsed = parseName(text, ROOT_NAME);
    assert.ok(parsed.ok, text);
    return parsed.name;
  };
  const apex = name('example.test.');
  const at = { ttlSeconds: 3600, file: 'example.test.zone', line: 1, column: 1 };
  const server = name('ns1.example.test.');
  const numbers = new Uint8Array(20);
  new DataView(numbers.buffer).setUint32(0, serial);
  const soa = { bytes: Uint8Array.of(...server, ...apex, ...numbers), names: [] };
  const bytes = new Uint8Array(dataBytes).fill(serial);
  const records = [
    { owner: apex, type: 6, data: soa, ...at },
    { owner: apex, type: 2, data: { bytes: server, names: [] }, ...at },
    { owner: server, type: 1, data: { bytes: Uint8Array.of(192, 0, 2, 53), names: [] }, ...at },
  ];
  for (let i = 0; i < count; i++) {
    records.push({ owner: name(`h${i}.example.test.`), type: 65280, data: { bytes, names: [] }, ...at });
  }
  const file = { path: 'example.test.zone', line: 1, records, files: [] };
  return { zones: [{ ...zone('example.test', []), serial, file }], services: new Map() };
}

const run = promisify(execFile);

export interface Transferred {
  /** Records as dig prints them, blanks joined, in the order in which they came. */
  readonly records: readonly string[];
  readonly text: string;
}

/** Asks with the real dig for a transfer; fails when it does. */
export async function transfer(port: number, args: string): Promise<Transferred> {
  const words = `@127.0.0.1 -p ${port} +tries=1 +time=5 ${args}`.trim().split(/ +/);
  const { stdout } = await run('dig', words, { maxBuffer: 2 ** 28 });
  assert.doesNotMatch(stdout, /Transfer failed|WARNING|Couldn't verify/, stdout.slice(0, 2000));
  const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith(';') && !line.includes('\tTSIG\t'));
  return { text: stdout, records: lines.map((line) => line.replace(/\s+/g, ' ')) };
}

/** What kdig prints. */
export async function kdig(port: number, args: string): Promise<string> {
  return (await run('kdig', `@127.0.0.1 -p ${port} ${args}`.split(/ +/))).stdout;
}

/** Messages of an AXFR without a key until the second SOA, or until the connection ends. */
export async function readMessages(port: number, zoneName: string, pauseMs = 0): Promise<Message[]> {
  const socket = open(port);
  socket.write(framed(77, zoneName, 252));
  let bytes = Buffer.alloc(0);
  const messages: Message[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: true })) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
      const end = 2 + bytes.readUInt16BE(0);
      const decoded = decodeMessage(new Uint8Array(bytes.subarray(2, end)));
      assert.ok(decoded.ok, JSON.stringify(decoded));
      messages.push(decoded.message);
      bytes = bytes.subarray(end);
      const last = decoded.message.answers.at(-1);
      if (last?.type === 6 && (messages.length > 1 || decoded.message.answers.length > 1)) return messages;
    }
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return messages;
}
