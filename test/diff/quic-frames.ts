/** Random QUIC packets: every type of versions 1, 2 and others, with connection IDs of every length, mostly ones that name a backend. */
import { writeUint32 } from '../../src/net/ethernet.ts';
import type { Dice } from './dice.ts';
import { BACKEND_INDICES, QUIC_CONFIG, serverId } from './world.ts';

const VERSIONS = [1, 1, 1, 0x6b3343cf, 0x6b3343cf, 0, 0xff00001d, 0x0a0a0a0a];

/** What follows the UDP header. Some are shorter than any real packet. */
export function randomQuic(dice: Dice): Uint8Array {
  const packet = dice.bytes(dice.chance(95) ? 21 + dice.below(40) : 1 + dice.below(24));
  const id = connectionId(dice);
  if (dice.chance(35)) {
    packet[0] &= 0x7f;
    packet.set(id.subarray(0, Math.max(0, packet.length - 1)), 1);
  } else if (packet.length > 6) {
    packet[0] |= 0x80;
    writeUint32(packet, 1, dice.pick(VERSIONS));
    packet[5] = dice.chance(95) ? id.length : dice.below(256);
    packet.set(id.subarray(0, packet.length - 6), 6);
  }
  return packet;
}

function connectionId(dice: Dice): Uint8Array {
  const id = dice.bytes(dice.chance(80) ? 8 + dice.below(8) : dice.below(21));
  if (id.length > 0 && dice.chance(90)) id[0] = (QUIC_CONFIG << 5) | (id[0] & 31);
  const index = dice.chance(95) ? dice.pick(BACKEND_INDICES) : dice.below(0x10000);
  const name = new Uint8Array(8);
  new DataView(name.buffer).setBigUint64(0, serverId(index, 8));
  const bytes = dice.pick([1, 2, 2, 2, 3, 8]);
  if (id.length > bytes) id.set(name.subarray(8 - bytes), 1);
  return id;
}
