import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readBtf } from './btf.ts';
import { readHeader } from './c-header.ts';
import { PACKING } from './layout.gen.ts';
import { MAP_FATES, type PackingName } from './map-fates.ts';

const root = join(import.meta.dirname, '../../..');
const objects = ['balancer', 'backend', 'dns'].map((name) => join(root, `build/bpf/${name}.bpf.o`));

const notCompiled = !objects.every((path) => existsSync(path)) && 'needs the compiled programs (scripts/build-bpf.sh)';

test('of every map it is said what becomes of it in an upgrade', { skip: notCompiled }, () => {
  const names = objects.flatMap((path) => readBtf(readFileSync(path)).maps.map(({ name }) => name));
  assert.deepEqual(
    [...new Set(names)].filter((name) => MAP_FATES[name] === undefined),
    [],
    'add them to map-fates.ts, and to the table of docs/operations.md if users may notice',
  );
});

/** What the words of a version of a packing are made of. A change here needs the next version, unless it is an addition. */
const WORDS: Record<PackingName, Record<string, number>> = {
  SLOT: {
    PACKING: 1,
    INDEX_MASK: 0xfff,
    TICK_SHIFT: 32,
    FINE_SHIFT: 26,
    SLOT_PREVIOUS_SHIFT: 12,
    SLOT_THIRD_SHIFT: 24,
    SLOT_GENERATION_SHIFT: 36,
    SLOT_GENERATION_MASK: 0xffff,
    SLOT_TICK_SHIFT: 52,
    SLOT_TICK_MASK: 0xfff,
  },
  ENTRY: {
    PACKING: 1,
    INDEX_MASK: 0xfff,
    BUCKET_ENTRIES: 8,
    AGE_MASK: 0xfff,
    ENTRY_STATE_SHIFT: 12,
    ENTRY_AGE_SHIFT: 16,
    ENTRY_FINGERPRINT_SHIFT: 28,
    STATE_OPENING: 1,
    STATE_OPEN: 2,
    STATE_CLOSING: 3,
    STATE_ENDED: 4,
    STATE_COUNTED: 8,
  },
  FLAGS: {
    PACKING: 1,
    BACKEND_ALIVE: 1,
    BACKEND_AGENT: 2,
    BACKEND_IPV6: 4,
    VIP_ECHO: 1,
    VIP_OWN: 2,
    EGRESS_TAG: 0x1000,
    EGRESS_STRIP: 0x2000,
    EGRESS_STALE: 0x8000,
    SERVICE_TRACK_ALL: 1,
    SERVICE_HASH_SOURCE: 2,
    SERVICE_QUIC: 4,
    SERVICE_UNREACHABLE: 8,
    SERVICE_NAT_TUPLES: 16,
  },
  FRAGMENT: {
    PACKING: 1,
    FRAGMENT_REGIONS: 512,
    FRAGMENT_REGION_BUCKETS: 32,
    FRAGMENT_ENTRIES: 4,
    FRAGMENT_TCP: 0x1000,
    FRAGMENT_KNOWN: 0x2000,
    FRAGMENT_PORT_SHIFT: 16,
    FRAGMENT_AGE_SHIFT: 32,
    FRAGMENT_CHECK_SHIFT: 44,
  },
};

test('words that change their meaning change the version of their packing', () => {
  const header = readHeader(readFileSync(join(root, 'bpf/layout.h'), 'utf8'));
  const constants = new Map(header.constants.map(({ name, value }) => [name, value]));
  for (const [name, words] of Object.entries(WORDS) as [PackingName, Record<string, number>][]) {
    for (const [word, value] of Object.entries(words)) {
      const found = word === 'PACKING' ? PACKING[name] : constants.get(word);
      assert.equal(found, value, `${word}: raise PACKING_${name} in bpf/layout.h, and write down here what it is now`);
    }
  }
});
