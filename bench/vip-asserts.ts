/** The program did to each packet of a sample what its lane says, or the figure means nothing. */
import assert from 'node:assert/strict';
import type { XdpVerdict } from '../src/serve/vip/bpf.ts';
import { OUTCOME } from '../src/serve/vip/layout.gen.ts';
import type { Outcomes } from './vip-bed.ts';
import { isMessage, isStray, type Lane, nameOf, OUTER_BYTES, sizeOf } from './vip-lanes.ts';

/** An answer quotes so much that its frame is so long. */
const ANSWER_BYTES = { 4: 14 + 28 + 52, 6: 14 + 1280 } as const;
const KEYED_GRE_BYTES = 28;
/** A sample of some of the flows has about as many tracked ones as all. */
const TOLERANCE = 0.1;

export interface Sample {
  readonly grossNs: number;
  readonly verdict: XdpVerdict;
  readonly lengthBytes: number;
}

export function countOf(before: Outcomes, after: Outcomes, outcome: number): number {
  return after.outcome[outcome] - before.outcome[outcome];
}

/** `tracked`: how many of the lane's flows the connection table knows, where a part of the slots is unsettled. */
export function assertSample(
  lane: Lane,
  sample: Sample,
  before: Outcomes,
  after: Outcomes,
  turns: number,
  tracked: number,
): void {
  const grown = (outcome: number) => countOf(before, after, outcome);
  const size = sizeOf(lane);
  const name = nameOf(lane);
  const total = after.outcome.reduce((sum, _, outcome) => sum + grown(outcome), 0);
  assert.equal(total, turns, `${name}: each packet has one outcome`);
  assert.equal(after.bytes - before.bytes, turns * (size - 14), `${name}: each packet counts its bytes`);
  assert.equal(sample.verdict, isStray(lane) ? 'pass' : 'tx', name);
  const lengths = lengthsOf(lane);
  assert.ok(lengths.includes(sample.lengthBytes), `${name}: length ${sample.lengthBytes}, not ${lengths.join(' or ')}`);
  const inTable = lane.kind === 'new' ? OUTCOME.NEW : OUTCOME.TRACKED;
  if (lane.tracking === 'just-enough' && lane.table === 'unsettled10') {
    assert.equal(grown(inTable) + grown(OUTCOME.SETTLED), turns, name);
    if (lane.kind === 'new') return;
    const due = tracked * (turns / lane.flows);
    const most = turns % lane.flows === 0 ? 0 : TOLERANCE * due;
    assert.ok(Math.abs(grown(inTable) - due) <= most, `${name}: ${grown(inTable)} tracked, not ${due}`);
    return;
  }
  assert.equal(grown(outcomeOf(lane)), turns, `${name}: its outcome`);
}

function outcomeOf(lane: Lane): number {
  const { kind, protocol, tracking, table } = lane;
  if (isStray(lane)) return OUTCOME.NOT_VIP;
  if (kind === 'error') return OUTCOME.ICMP_ERROR;
  if (kind === 'too-big') return OUTCOME.TOO_BIG;
  if (tracking === 'classic' || table === 'unsettled100') return kind === 'new' ? OUTCOME.NEW : OUTCOME.TRACKED;
  return protocol === 'quic' && kind === 'established' ? OUTCOME.BY_ID : OUTCOME.SETTLED;
}

/** Of the frame that comes out. In unsettled slots the backend learns the other candidates, by the key. */
function lengthsOf(lane: Lane): number[] {
  const size = sizeOf(lane);
  if (isStray(lane)) return [size];
  if (lane.kind === 'too-big') return [ANSWER_BYTES[lane.family]];
  const plain = size + OUTER_BYTES[lane.mode];
  if (lane.kind === 'new' || lane.tracking === 'classic' || isMessage(lane)) return [plain];
  if (lane.table === 'unsettled100') return [size + KEYED_GRE_BYTES];
  return lane.table === 'unsettled10' ? [plain, size + KEYED_GRE_BYTES] : [plain];
}
