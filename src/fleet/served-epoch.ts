/**
 * What a name server serves, in one word: a hash of all of the configuration that answers depend on, with zone files, client networks and pins. So
 * name servers that serve the same tell the same epoch, without asking each other, and over restarts.
 */
import { createHash, type Hash } from 'node:crypto';
import type { Config } from '../config/model.ts';
import { formatPrefix } from '../net/address.ts';

/** Of the machine or the process, not of what is served. */
const NOT_SERVED: ReadonlySet<string> = new Set([
  'api',
  'stateFolder',
  'nameServers',
  'queryLog',
  'delegation',
  'beacons',
  'transfers',
  'locationFiles',
]);
/** Where something stands in a file, and what was made of other values. */
const NOT_VALUES: ReadonlySet<string> = new Set([
  'line',
  'column',
  'maps',
  'files',
  'cookies',
  'workers',
  'keyFolder',
  'entries',
  'databases',
]);

const EPOCH_DIGITS = 12;

/** Cost: one to three seconds for a million records of zone files. */
export function servedEpoch(config: Config): string {
  const writer = new HashWriter();
  for (const [key, value] of Object.entries(config)) {
    if (NOT_SERVED.has(key)) continue;
    writer.text(key);
    writer.value(key === 'steeringState' ? inOneOrder(config.steeringState) : value, 0);
  }
  return writer.digest().slice(0, EPOCH_DIGITS);
}

/** In which order pins were given, and assignments were read again, says nothing. */
function inOneOrder({ pins, assignments, measured }: Config['steeringState']): unknown {
  const sorted = (value: unknown): unknown => {
    if (!(value instanceof Map)) return value;
    const entries = [...(value as Map<string, unknown>)].sort(([a], [b]) => (a < b ? -1 : 1));
    return new Map(entries.map(([key, one]) => [key, sorted(one)]));
  };
  const texts = pins.map(({ prefix, ...pin }) => JSON.stringify({ prefix: prefix && formatPrefix(prefix), ...pin }));
  // How many maps there were before says nothing.
  return { pins: texts.sort(), assignments: sorted(assignments), measured: measured && { ...measured, version: 0 } };
}

const BUFFER_BYTES = 64 * 1024;
/** Longer texts and bytes go to the hash by themselves. */
const SMALL_BYTES = 1024;
const MAX_DEPTH = 64;

const TAG = { nothing: 0, text: 1, number: 2, boolean: 3, bytes: 4, list: 5, map: 6, object: 7, key: 8 } as const;

/** Values into a hash: each with its kind and length before it, so that different values give different bytes. */
class HashWriter {
  readonly #hash: Hash = createHash('sha256');
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  readonly #keys = new Map<string, number>();
  readonly #number = new Float64Array(1);
  readonly #numberBytes = new Uint8Array(this.#number.buffer);
  #used = 0;

  #room(bytes: number): void {
    if (this.#used + bytes > BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    this.#hash.update(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }

  #head(tag: number, count: number): void {
    this.#room(16);
    this.#buffer[this.#used++] = tag;
    this.#number[0] = count;
    for (let i = 0; i < 8; i++) this.#buffer[this.#used++] = this.#numberBytes[i] as number;
  }

  text(text: string): void {
    this.#head(TAG.text, text.length);
    if (text.length <= SMALL_BYTES) {
      this.#room(3 * SMALL_BYTES);
      this.#used += this.#buffer.write(text, this.#used, 'utf8');
      return;
    }
    this.#flush();
    this.#hash.update(text, 'utf8');
  }

  #bytes(bytes: Uint8Array): void {
    this.#head(TAG.bytes, bytes.length);
    if (bytes.length <= SMALL_BYTES) {
      this.#room(SMALL_BYTES);
      for (let i = 0; i < bytes.length; i++) this.#buffer[this.#used++] = bytes[i] as number;
      return;
    }
    this.#flush();
    this.#hash.update(bytes);
  }

  value(value: unknown, depth: number): void {
    if (depth > MAX_DEPTH) throw new Error('a configuration refers to itself');
    if (typeof value === 'string') this.text(value);
    else if (typeof value === 'number') this.#head(TAG.number, value);
    else if (typeof value === 'boolean') this.#head(TAG.boolean, Number(value));
    else if (value instanceof Uint8Array) this.#bytes(value);
    else if (ArrayBuffer.isView(value)) this.#bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    else if (Array.isArray(value)) {
      this.#head(TAG.list, value.length);
      for (const one of value) this.value(one, depth + 1);
    } else if (value instanceof Map || value instanceof Set) {
      this.#head(TAG.map, value.size);
      for (const [key, one] of value.entries()) {
        this.value(key, depth + 1);
        this.value(one, depth + 1);
      }
    } else if (typeof value === 'object' && value !== null) this.#object(value, depth);
    else this.#head(TAG.nothing, 0);
  }

  #object(value: object, depth: number): void {
    this.#head(TAG.object, 0);
    // Each server counts for itself then.
    const hasOwnSerial = 'isSerialCounted' in value && value.isSerialCounted === true;
    for (const key in value) {
      if (NOT_VALUES.has(key) || (hasOwnSerial && key === 'serial')) continue;
      this.#key(key);
      this.value((value as Record<string, unknown>)[key], depth + 1);
    }
  }

  /** Written once; then by its number. */
  #key(key: string): void {
    const number = this.#keys.get(key);
    if (number !== undefined) {
      this.#head(TAG.key, number);
      return;
    }
    this.#keys.set(key, this.#keys.size);
    this.text(key);
  }

  digest(): string {
    this.#flush();
    return this.#hash.digest('hex');
  }
}
