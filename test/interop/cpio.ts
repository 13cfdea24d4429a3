/** Writes an archive in the format `newc` of cpio, which the Linux kernel unpacks as its first root file system. */

const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;

export interface CpioEntry {
  /** Without a leading slash. */
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'link';
  /** Permissions. */
  readonly mode: number;
  /** Content of a file, target of a link. */
  readonly data: Uint8Array;
}

/** The whole archive; folders before what is in them. */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Uint8Array[] = [];
  let inode = 1;
  for (const { path, kind, mode, data } of entries) {
    const type = kind === 'file' ? S_IFREG : kind === 'folder' ? S_IFDIR : S_IFLNK;
    parts.push(header(path, inode++, type | mode, data.length), padded(Buffer.from(`${path}\0`), 110), padded(data, 0));
  }
  parts.push(header('TRAILER!!!', 0, 0, 0), padded(Buffer.from('TRAILER!!!\0'), 110));
  return Buffer.concat(parts);
}

/** 110 bytes: 13 numbers of 8 hexadecimal digits behind the magic. */
function header(path: string, inode: number, mode: number, sizeBytes: number): Buffer {
  const nameBytes = Buffer.byteLength(path) + 1;
  const fields = [inode, mode, 0, 0, 1, 0, sizeBytes, 0, 0, 0, 0, nameBytes, 0];
  return Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
}

/** With zeros to a multiple of 4, counted from `before` bytes ahead of it. */
function padded(data: Uint8Array, before: number): Uint8Array {
  const missing = -(before + data.length) & 3;
  return missing === 0 ? data : Buffer.concat([data, new Uint8Array(missing)]);
}
