/** A record of the ring `slow_path`: `struct hand_up`, then the frame. */
import type { HandedUp } from '../../model/engine.ts';
import { REASONS } from '../../model/layout.ts';
import { HAND_UP } from './layout.gen.ts';

const at = HAND_UP.offsets;

/** A copy: what the ring has is only valid until its reader returns. */
export function readHandedUp(record: Uint8Array): HandedUp {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const word = (offset: number): number => view.getUint32(offset, true);
  return {
    reason: REASONS[word(at.reason)],
    bucket: word(at.bucket),
    datagramLow: word(at.datagram),
    datagramHigh: word(at.datagram + 4),
    check: word(at.check),
    subject: word(at.subject),
    backend: word(at.backend),
    key: word(at.key),
    flowLabel: word(at.flowLabel),
    ingressIfindex: word(at.ingressIfindex),
    region: word(at.region),
    frame: record.slice(HAND_UP.sizeBytes, HAND_UP.sizeBytes + word(at.length)),
  };
}
