/**
 * Lets time pass for a balancer's connections. The clock of the kernel programs cannot be turned, so what they compare it with
 * goes back instead: the age of every connection entry and the tick of every unsettled slot, each by compare-and-swap in the mapped map.
 */
import { join } from 'node:path';
import { slotFields, slotHigh, slotLow, TICK_MASK, tickOf } from '../../decide/slot-word.ts';
import { lookupElement, mapFdById, mapInfo, openPinned } from '../../serve/vip/bpf.ts';
import { AGE_MASK, ENTRY_AGE_SHIFT, MAX_SUBJECTS } from '../../serve/vip/layout.gen.ts';
import { closeFd, mapMemory } from '../../serve/vip/libc.ts';
import { pinFolder } from '../../serve/vip/pins.ts';

const AGE_SHIFT = BigInt(ENTRY_AGE_SHIFT);
const AGE_BITS = BigInt(AGE_MASK) << AGE_SHIFT;

/** Every 64-bit word of an array map, until each has what `change` makes of it. */
function changeWords(fd: number, what: string, change: (word: bigint) => bigint): number {
  const { maxEntries, valueSizeBytes } = mapInfo(fd);
  const memory = mapMemory(fd, maxEntries * valueSizeBytes, what);
  let changed = 0;
  try {
    const words = new BigUint64Array(memory.buffer);
    for (let at = 0; at < words.length; at++) {
      for (;;) {
        const word = Atomics.load(words, at);
        const wanted = change(word);
        if (wanted === word) break;
        if (Atomics.compareExchange(words, at, word, wanted) !== word) continue; // a packet was faster: again
        changed++;
        break;
      }
    }
  } finally {
    memory.unmap();
  }
  return changed;
}

function olderEntry(word: bigint, ticks: number): bigint {
  if (word === 0n) return word;
  const age = ((word & AGE_BITS) >> AGE_SHIFT) - BigInt(ticks);
  return (word & ~AGE_BITS) | ((age & BigInt(AGE_MASK)) << AGE_SHIFT);
}

function olderSlot(word: bigint, ticks: number): bigint {
  const { current, previous, third, generation, tick } = slotFields(Number(word & 0xffffffffn), Number(word >> 32n));
  if (tick === 0) return word; // settled: it has none
  const high = slotHigh(third, generation, tickOf((tick - ticks) & TICK_MASK));
  return (BigInt(high) << 32n) | BigInt(slotLow(current, previous, third));
}

function pinnedMap(pins: string, name: string): number {
  const fd = openPinned(join(pinFolder(pins), name));
  if (fd === null) throw new Error(`lab: ${pins} has no pinned map ${name}`);
  return fd;
}

/** As if `ticks` of 4.29 s had passed since the last packet of each connection. Gives the connection entries that there are. */
export function shiftAges(pins: string, ticks: number): number {
  const connections = pinnedMap(pins, 'connections');
  const tables = pinnedMap(pins, 'slot_tables');
  try {
    const entries = changeWords(connections, 'connections', (word) => olderEntry(word, ticks));
    for (let subject = 1; subject < MAX_SUBJECTS; subject++) {
      const id = new Uint32Array(1);
      const key = new Uint8Array(new Uint32Array([subject]).buffer);
      if (!lookupElement(tables, key, new Uint8Array(id.buffer))) continue;
      const table = mapFdById(id[0] as number);
      try {
        changeWords(table, `slots of subject ${subject}`, (word) => olderSlot(word, ticks));
      } finally {
        closeFd(table);
      }
    }
    return entries;
  } finally {
    closeFd(connections);
    closeFd(tables);
  }
}
