/** A location database in the MaxMind DB format for `dns-servers.ts`, as strict as libmaxminddb wants it: IPv4 prefixes and the country of each. */

type Node = [Node | string | null, Node | string | null];

const UINT16 = 5;
const UINT32 = 6;
const MAP = 7;
const UINT64 = 9;
const ARRAY = 11;
const STRING = 2;

/** `countries`: prefix -> code; of nested prefixes the later is laid over the earlier. */
export function writeCountries(countries: Readonly<Record<string, string>>): Uint8Array {
  const root: Node = [null, null];
  for (const [prefix, code] of Object.entries(countries)) insert(root, prefix, code);
  const nodes: Node[] = [];
  const numbers = new Map<Node, number>();
  const number = (node: Node): void => {
    numbers.set(node, nodes.push(node) - 1);
    for (const child of node) if (Array.isArray(child)) number(child);
  };
  number(root);
  const data: number[] = [];
  const places = new Map<string, number>();
  for (const code of new Set(Object.values(countries))) {
    places.set(code, data.length);
    data.push(...map([['country', map([['iso_code', text(code)]])]]));
  }
  const record = (child: Node[0]): number[] => {
    const place = typeof child === 'string' ? places.get(child) : undefined;
    const value =
      place !== undefined ? nodes.length + 16 + place : Array.isArray(child) ? numbers.get(child) : undefined;
    const word = value ?? nodes.length;
    return [(word >> 16) & 0xff, (word >> 8) & 0xff, word & 0xff];
  };
  const tree = nodes.flatMap(([left, right]) => [...record(left), ...record(right)]);
  const metadata = map([
    ['binary_format_major_version', integer(UINT16, 2)],
    ['binary_format_minor_version', integer(UINT16, 0)],
    ['build_epoch', integer(UINT64, 1_700_000_000)],
    ['database_type', text('Bench-Country')],
    ['description', map([['en', text('for benchmarks')]])],
    ['ip_version', integer(UINT16, 4)],
    ['languages', [...control(ARRAY, 1), ...text('en')]],
    ['node_count', integer(UINT32, nodes.length)],
    ['record_size', integer(UINT16, 24)],
  ]);
  const marker = [0xab, 0xcd, 0xef, ...Buffer.from('MaxMind.com')];
  return Uint8Array.from([...tree, ...new Array<number>(16).fill(0), ...data, ...marker, ...metadata]);
}

function insert(root: Node, prefix: string, code: string): void {
  const [address, length] = prefix.split('/');
  const word = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  const bits = Array.from({ length: Number(length) }, (_, i) => (Math.floor(word / 2 ** (31 - i)) % 2) as 0 | 1);
  let node = root;
  for (const bit of bits.slice(0, -1)) {
    const child = node[bit];
    const next: Node = Array.isArray(child) ? child : [child, child];
    node[bit] = next;
    node = next;
  }
  const last = bits.at(-1);
  if (last === undefined) root.fill(code);
  else node[last] = code;
}

/** Types above 7 stand in a byte of their own. */
function control(type: number, size: number): number[] {
  return type > 7 ? [size, type - 7] : [(type << 5) | size];
}

function text(value: string): number[] {
  return [...control(STRING, value.length), ...Buffer.from(value)];
}

function integer(type: number, value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [...control(type, bytes.length), ...bytes];
}

function map(fields: readonly (readonly [string, readonly number[]])[]): number[] {
  return [...control(MAP, fields.length), ...fields.flatMap(([key, value]) => [...text(key), ...value])];
}
