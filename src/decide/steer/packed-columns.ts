/** Columns in one piece of bytes: a line of JSON with their names, kinds and lengths, then each, from a multiple of 8 on. */

export type Column = Float64Array | Float32Array | Uint32Array | Int32Array | Uint16Array | Int16Array | Uint8Array;

const KINDS = { Float64Array, Float32Array, Uint32Array, Int32Array, Uint16Array, Int16Array, Uint8Array };
const MAGIC = 'portico-columns 1';
/** Of the line, in bytes. */
const MOST_HEADER = 1 << 16;

type KindName = keyof typeof KINDS;

export function packColumns(columns: Readonly<Record<string, Column>>, facts: unknown): Uint8Array {
  const list = Object.entries(columns).map(([name, column]) => [name, column.constructor.name, column.length]);
  const header = new TextEncoder().encode(`${JSON.stringify([MAGIC, facts, list])}\n`);
  let size = padded(header.length);
  for (const { byteLength } of Object.values(columns)) size += padded(byteLength);
  const bytes = new Uint8Array(size);
  bytes.set(header);
  let at = padded(header.length);
  for (const column of Object.values(columns)) {
    bytes.set(new Uint8Array(column.buffer, column.byteOffset, column.byteLength), at);
    at += padded(column.byteLength);
  }
  return bytes;
}

/** Copies. Null: these are no packed columns. */
export function unpackColumns(bytes: Uint8Array): { columns: Map<string, Column>; facts: unknown } | null {
  const end = bytes.subarray(0, MOST_HEADER).indexOf(10);
  if (end < 0) return null;
  try {
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    if (!Array.isArray(header) || header[0] !== MAGIC) return null;
    const columns = new Map<string, Column>();
    let at = padded(end + 1);
    for (const [name, kind, length] of header[2] as [string, KindName, number][]) {
      const size = KINDS[kind].BYTES_PER_ELEMENT * length;
      if (!(size >= 0) || at + size > bytes.length) return null;
      const copy = bytes.slice(at, at + size);
      columns.set(name, new KINDS[kind](copy.buffer, 0, length));
      at += padded(size);
    }
    return { columns, facts: header[1] };
  } catch {
    return null;
  }
}

function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}
