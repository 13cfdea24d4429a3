/** Connections to a name server, and what comes on them. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { encodeQuery } from '../../src/serve/dns/wire/message.ts';
import { parseName, ROOT_NAME } from '../../src/serve/dns/wire/name.ts';

const clients: Socket[] = [];

/** A query with its length before it. `options`: of EDNS; null: without. */
export function framed(id: number, text: string, type = 1, options: Uint8Array | null = null): Buffer {
  const name = parseName(`${text}.`, ROOT_NAME);
  assert.ok(name.ok);
  const edns = options === null ? null : { payloadBytes: 1232, flags: 0, options };
  const query = encodeQuery(id, { name: name.name, type, class: 1 }, edns);
  return Buffer.concat([Uint8Array.of(query.length >> 8, query.length), query]);
}

/** Closed by `closeAll` at the latest. */
export function open(port: number, localAddress = '127.0.0.1'): Socket {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => undefined);
  clients.push(socket);
  return socket;
}

export function closeAll(): void {
  for (const client of clients.splice(0)) client.destroy();
}

/** Identifiers of the next `count` answers, in the order in which they come. */
export async function readIds(socket: Socket, count: number): Promise<number[]> {
  let bytes = Buffer.alloc(0);
  const ids: number[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
      ids.push(bytes.readUInt16BE(2));
      bytes = bytes.subarray(2 + bytes.readUInt16BE(0));
    }
    if (ids.length >= count) return ids;
  }
  return ids;
}

/** Resolves when the other side has closed the connection. */
export function closed(socket: Socket, limitMs = 5000): Promise<void> {
  socket.resume();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the connection stays open')), limitMs);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

export async function until(what: string, holds: () => boolean, limitMs = 5000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
