/** VLAN tags that a frame leaves with (bpf/forward.h, bpf/send.h). */
import { ETHERTYPE_VLAN, writeUint16 } from '../net/ethernet.ts';
import { EGRESS_STRIP, EGRESS_TAG, EGRESS_VLAN_MASK } from './layout.ts';

/** `ipOffset`: 14, 18 or 22. `egress`: EGRESS_*; a way in doubt is as its entry says, as no kernel's tables are here. */
export function setTags(frame: Uint8Array, ipOffset: number, egress: number): Uint8Array {
  const isTagged = (egress & EGRESS_TAG) !== 0;
  if (!isTagged && (egress & EGRESS_STRIP) === 0) return frame;
  const offset = isTagged ? 18 : 14;
  const result = new Uint8Array(frame.length + offset - ipOffset);
  result.set(frame.subarray(0, 12));
  if (isTagged) {
    writeUint16(result, 12, ETHERTYPE_VLAN);
    writeUint16(result, 14, egress & EGRESS_VLAN_MASK);
  }
  result.set(frame.subarray(ipOffset - 2), offset - 2);
  return result;
}
