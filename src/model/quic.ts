/**
 * What a balancer reads of a QUIC packet (bpf/quic.h): whether it may open a connection, and the server ID in its connection
 * ID, in the unencrypted format of draft-ietf-quic-load-balancers-21: an octet with the number of the configuration in its
 * upper 3 bits, server ID, nonce.
 */
import { readUint16, readUint32 } from '../net/ethernet.ts';
import { UDP_HEADER_BYTES } from '../net/packet.ts';
import type { IpHeader, Transport } from './parse.ts';

const VERSION_1 = 1;
const VERSION_2 = 0x6b3343cf;
const LONG_HEADER = 0x80;
/** Of what follows the UDP header: reaches to the end of the longest server ID. */
const LEAST_BYTES = 16;
const LONG_ID = 6;
const SHORT_ID = 1;

export interface QuicPacket {
  /**
   * `initial`: opens a connection. `early`: 0-RTT; both carry IDs that the client may have made up. `later`: everything else,
   * and what is no QUIC packet or one of another version than 1 and 2.
   */
  readonly kind: 'initial' | 'early' | 'later';
  /** As a big-endian number; null: the ID is none of this configuration, or not there. */
  readonly serverId: bigint | null;
}

const NOTHING: QuicPacket = { kind: 'later', serverId: null };

/** `transport` is UDP. `configId`: 0 .. 6. `serverIdBytes`: 1 .. 8. */
export function readQuic(
  frame: Uint8Array,
  ip: IpHeader,
  transport: Transport,
  configId: number,
  serverIdBytes: number,
): QuicPacket {
  const end = ip.offset + ip.lengthBytes;
  const at = transport.offset + UDP_HEADER_BYTES;
  if (end - at < LEAST_BYTES) return NOTHING;
  const bytes = readUint16(frame, transport.offset + 4) - UDP_HEADER_BYTES;
  if (bytes < LEAST_BYTES) return NOTHING;
  if ((frame[at] & LONG_HEADER) === 0)
    return { kind: 'later', serverId: serverIdAt(frame, at + SHORT_ID, configId, serverIdBytes) };
  const idBytes = frame[at + LONG_ID - 1];
  if (LONG_ID + idBytes > bytes) return NOTHING;
  const kind = kindOf(readUint32(frame, at + 1), (frame[at] >> 4) & 3);
  if (idBytes <= serverIdBytes) return { kind, serverId: null };
  return { kind, serverId: serverIdAt(frame, at + LONG_ID, configId, serverIdBytes) };
}

/** Initial and 0-RTT are types 0 and 1, in version 2 types 1 and 2 (RFC 9369, 3.2). */
function kindOf(version: number, type: number): QuicPacket['kind'] {
  if (version !== VERSION_1 && version !== VERSION_2) return 'later';
  const first = version === VERSION_1 ? 0 : 1;
  if (type === first) return 'initial';
  return type === first + 1 ? 'early' : 'later';
}

function serverIdAt(frame: Uint8Array, at: number, configId: number, serverIdBytes: number): bigint | null {
  if (frame[at] >> 5 !== configId) return null;
  let id = 0n;
  for (let i = 1; i <= serverIdBytes; i++) id = (id << 8n) | BigInt(frame[at + i]);
  return id;
}
