/** What it costs to load the balancer: every start, upgrade and test pays for it. Needs root. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { libbpf } from '../../src/serve/vip/bpf.ts';
import { BpfObject } from '../../src/serve/vip/object.ts';
import { cannotLoad } from '../../src/serve/vip/test-network.ts';

/** The kernel's own limit is ten times as much; 2 µs each, on a machine that does nothing else. */
const MOST_INSTRUCTIONS = 100_000;
const MOST_TOGETHER = 420_000;
const PROGRAMS = ['balancer', 'icmp', 'answer', 'fragment', 'relayed', 'hand_up_noted', 'send', 'nat_reply'];
/** `struct bpf_prog_info`, since kernel 5.16. */
const INFO_BYTES = 228;
const VERIFIED_INSNS = 216;

/** How many instructions the verifier went through, each as often as it did. */
function verifiedInstructions(fd: number): number {
  const readInfo = libbpf().func('int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *length)');
  const info = new Uint8Array(INFO_BYTES);
  assert.equal(readInfo(fd, info, new Uint32Array([INFO_BYTES])), 0);
  return new DataView(info.buffer).getUint32(VERIFIED_INSNS, true);
}

const DNS_INSTRUCTIONS = 60_000;

describe('the verifier', { skip: cannotLoad }, () => {
  test(`no program of the balancer takes more than ${MOST_INSTRUCTIONS} instructions, all together ${MOST_TOGETHER}`, () => {
    const object = new BpfObject(fileURLToPath(new URL('../../build/bpf/balancer.bpf.o', import.meta.url)));
    try {
      object.load();
      const found = PROGRAMS.map((name) => ({ name, count: verifiedInstructions(object.programFd(name)) }));
      assert.ok(
        found.every(({ count }) => count > 1000),
        JSON.stringify(found),
      );
      assert.deepEqual(
        found.filter(({ count }) => count > MOST_INSTRUCTIONS),
        [],
      );
      assert.ok(found.reduce((sum, { count }) => sum + count, 0) <= MOST_TOGETHER, JSON.stringify(found));
    } finally {
      object.close();
    }
  });

  // A reload of zones waits for it.
  test(`the program that answers DNS takes at most ${DNS_INSTRUCTIONS}`, () => {
    const object = new BpfObject(fileURLToPath(new URL('../../build/bpf/dns.bpf.o', import.meta.url)));
    try {
      object.load();
      const count = verifiedInstructions(object.programFd('dns'));
      assert.ok(count > 1000 && count <= DNS_INSTRUCTIONS, String(count));
    } finally {
      object.close();
    }
  });
});
