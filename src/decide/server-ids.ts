/** The server IDs by which connection IDs of QUIC name backends (docs/vip.md). */
import type { Backend, QuicIds } from '../config/model.ts';

/**
 * The ID of a backend in the connection IDs of a service: the one of the configuration, else the backend's index in
 * big-endian bytes. Null: it has none of that length.
 */
export function serverIdOf(backend: Backend, index: number, serverIdBytes: number): Uint8Array | null {
  if (backend.serverId !== null) return backend.serverId.length === serverIdBytes ? backend.serverId : null;
  if (index >= 256 ** serverIdBytes) return null;
  const id = new Uint8Array(serverIdBytes);
  for (let i = serverIdBytes - 1, rest = index; i >= 0; i--, rest = Math.floor(rest / 256)) id[i] = rest;
  return id;
}

/** At most 8 bytes, as a big-endian number. */
export function serverIdNumber(id: Uint8Array): bigint {
  return id.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

export interface NamedBackend {
  readonly backend: Backend;
  readonly index: number;
}

/** Backend indices of a service's backends by the numbers of their server IDs. Of two backends with one ID the first has it. */
export function serverIdsOf(quic: QuicIds | null, backends: Iterable<NamedBackend>): Map<bigint, number> {
  const ids = new Map<bigint, number>();
  if (quic === null) return ids;
  for (const { backend, index } of backends) {
    const id = serverIdOf(backend, index, quic.serverIdBytes);
    if (id !== null && !ids.has(serverIdNumber(id))) ids.set(serverIdNumber(id), index);
  }
  return ids;
}
