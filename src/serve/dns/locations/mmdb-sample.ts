/** For tests: writes databases in the MaxMind DB format. */
import assert from 'node:assert/strict';
import { parsePrefix } from '../../../net/address.ts';

export type SampleValue = string | number | boolean | SampleMap | readonly SampleValue[];
export interface SampleMap {
  readonly [key: string]: SampleValue;
}

export interface SampleOptions {
  readonly recordBits?: 24 | 28 | 32;
  readonly ipVersion?: 4 | 6;
  /** Prefixes of IPv6 under which IPv4 is reached again, as 2002::/16. */
  readonly aliases?: readonly string[];
}

type Child = Node | number | null;
type Node = [Child, Child];

/** Of nested prefixes the later is laid over the earlier. Numbers are doubles unless whole. */
export function writeMmdb(networks: Readonly<Record<string, SampleMap>>, options: SampleOptions = {}): Uint8Array {
  const { recordBits = 28, ipVersion = 6, aliases = [] } = options;
  const data: number[] = [];
  const offsets = new Map<string, number>();
  const root: Node = [null, null];
  for (const [prefix, value] of Object.entries(networks)) {
    const text = JSON.stringify(value);
    if (!offsets.has(text)) {
      offsets.set(text, data.length);
      writeValue(data, value, offsets);
    }
    insert(root, bitsOf(prefix, ipVersion), offsets.get(text) as number);
  }
  const ipv4 = ipVersion === 6 && aliases.length > 0 ? nodeAt(root, new Array(96).fill(0)) : root;
  for (const alias of aliases) insert(root, bitsOf(alias, 6), ipv4);
  const nodes: Node[] = [];
  const numbers = new Map<Node, number>();
  const count = (node: Node): void => {
    if (numbers.has(node)) return;
    numbers.set(node, nodes.push(node) - 1);
    for (const child of node) if (Array.isArray(child)) count(child);
  };
  count(root);
  const record = (child: Child) => {
    if (child === null) return nodes.length;
    return typeof child === 'number' ? nodes.length + 16 + child : (numbers.get(child) as number);
  };
  const tree = nodes.flatMap(([left, right]) => writeNode(record(left), record(right), recordBits));
  const metadata: number[] = [];
  writeValue(metadata, {
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_700_000_000,
    database_type: 'Sample',
    description: { en: 'for tests' },
    ip_version: ipVersion,
    languages: ['en'],
    node_count: nodes.length,
    record_size: recordBits,
  });
  const marker = [0xab, 0xcd, 0xef, ...new TextEncoder().encode('MaxMind.com')];
  return Uint8Array.from([...tree, ...new Array(16).fill(0), ...data, ...marker, ...metadata]);
}

function bitsOf(text: string, ipVersion: 4 | 6): number[] {
  const prefix = parsePrefix(text);
  assert.ok(prefix !== null, text);
  const { address, length } = prefix;
  const bits = Array.from({ length }, (_, i) => (address.bytes[i >> 3] >> (7 - (i & 7))) & 1);
  return address.family === 4 && ipVersion === 6 ? [...new Array(96).fill(0), ...bits] : bits;
}

/** The node there, made if need be; what is known of all beneath is kept. */
function nodeAt(root: Node, bits: readonly number[]): Node {
  let node = root;
  for (const bit of bits) {
    const child = node[bit];
    const next: Node = Array.isArray(child) ? child : [child, child];
    node[bit] = next;
    node = next;
  }
  return node;
}

function insert(root: Node, bits: readonly number[], value: number | Node): void {
  nodeAt(root, bits.slice(0, -1))[bits[bits.length - 1]] = value;
}

function writeNode(left: number, right: number, recordBits: 24 | 28 | 32): number[] {
  const bytes = (value: number) => [value >>> 16, value >>> 8, value].map((byte) => byte & 0xff);
  if (recordBits === 24) return [...bytes(left), ...bytes(right)];
  if (recordBits === 32) return [left >>> 24, ...bytes(left), right >>> 24, ...bytes(right)];
  return [...bytes(left), ((left >>> 24) << 4) | (right >>> 24), ...bytes(right)];
}

/** `offsets`: where texts that may be pointed to stand; new ones are added. */
function writeValue(out: number[], value: SampleValue, offsets?: Map<string, number>): void {
  if (typeof value === 'string') {
    const bytes = new TextEncoder().encode(value);
    const key = `text ${value}`;
    const known = offsets?.get(key);
    if (known !== undefined) {
      // A pointer in three bytes: of 19 bits, from 2,048 on; or in two, of 11.
      if (known < 2048) out.push(0x20 | (known >> 8), known & 0xff);
      else out.push(0x28 | ((known - 2048) >> 16), ((known - 2048) >> 8) & 0xff, (known - 2048) & 0xff);
      return;
    }
    offsets?.set(key, out.length);
    writeControl(out, 2, bytes.length);
    out.push(...bytes);
  } else if (typeof value === 'boolean') writeControl(out, 14, value ? 1 : 0);
  else if (typeof value === 'number') writeNumber(out, value);
  else if (Array.isArray(value)) {
    writeControl(out, 11, value.length);
    for (const item of value as readonly SampleValue[]) writeValue(out, item, offsets);
  } else {
    const fields = Object.entries(value as SampleMap);
    writeControl(out, 7, fields.length);
    for (const [key, field] of fields) {
      writeValue(out, key, offsets);
      writeValue(out, field, offsets);
    }
  }
}

function writeNumber(out: number[], value: number): void {
  if (Number.isInteger(value) && value >= 0) {
    const bytes: number[] = [];
    for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
    writeControl(out, 6, bytes.length);
    out.push(...bytes);
    return;
  }
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  writeControl(out, 3, 8);
  out.push(...new Uint8Array(view.buffer));
}

function writeControl(out: number[], type: number, size: number): void {
  const upper = type > 7 ? 0 : type << 5;
  const extra = size < 29 ? [] : size < 285 ? [size - 29] : [(size - 285) >> 8, (size - 285) & 0xff];
  out.push(upper | (size < 29 ? size : size < 285 ? 29 : 30));
  if (type > 7) out.push(type - 7);
  out.push(...extra);
}
