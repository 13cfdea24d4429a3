import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createConnectionTable, entryAge, entryBackend, purgeBackend, writeEntry } from './connections.ts';
import {
  BACKEND_AGENT,
  BACKEND_ALIVE,
  EVENT_INSERTED,
  EVENT_KEYED,
  EVENT_REFUSED_FULL,
  EVENT_REPLACED,
} from './layout.ts';
import { PRESSURE_WORDS } from './pressure.ts';
import { createSelection, type SelectRequest, selectBackend } from './select.ts';

const A = 1;
const B = 2;
const C = 3;
const NOW = 5000;
const LIFETIME = 840;

/** Slot: current B, previous A; everybody alive; nothing tracked. */
function request(changes: Partial<SelectRequest> = {}): SelectRequest {
  return {
    current: B,
    previous: A,
    third: 0,
    kind: 'tcp',
    flow: { firstBucket: 0, secondBucket: 1, fingerprintLow: 5, fingerprintHigh: 77 },
    clock: { high: NOW, low: 0 },
    adopting: false,
    limits: { lifetimeTicks: LIFETIME, newPerSecond: 1000, shareEntries: 1000 },
    reclaimTicks: LIFETIME,
    connections: createConnectionTable(2),
    pressure: new Uint32Array(PRESSURE_WORDS),
    backendFlags: Uint32Array.of(0, BACKEND_ALIVE, BACKEND_ALIVE, BACKEND_ALIVE),
    ...changes,
  };
}

function choose(of: SelectRequest): string {
  const selection = createSelection();
  selectBackend(of, selection);
  return `${selection.outcome} ${selection.backend}${selection.touchesSlot ? ' tick' : ''}`;
}

function track(of: SelectRequest, backend: number, age: number): void {
  writeEntry(of.connections, 3, of.flow, backend, NOW - age);
}

test('untracked means previous, while that is alive', () => {
  assert.equal(choose(request()), 'untracked 1 tick');
  assert.equal(choose(request({ backendFlags: [0, 0, BACKEND_ALIVE] })), 'untracked 2 tick');
});

test('a new connection goes to current, and its packets after it', () => {
  const syn = request({ kind: 'syn' });
  assert.equal(choose(syn), 'new 2');
  assert.equal(choose({ ...syn, kind: 'tcp' }), 'tracked 2');
});

test('a new connection that is refused goes to previous', () => {
  const limits = { lifetimeTicks: LIFETIME, newPerSecond: 0, shareEntries: 9 };
  assert.equal(choose(request({ kind: 'syn', limits })), 'untracked 1 tick');
  const full = request({ kind: 'syn' });
  const other = { ...full.flow, fingerprintHigh: 1 };
  for (let place = 0; place < 16; place++) writeEntry(full.connections, place, other, B, NOW);
  const selection = createSelection();
  selectBackend(full, selection);
  assert.deepEqual([selection.backend, selection.events], [A, EVENT_REFUSED_FULL]);
});

test('a SYN that meets a young entry is a retransmission, one that meets an old entry a new connection', () => {
  const young = request({ kind: 'syn' });
  track(young, A, 1);
  assert.equal(choose(young), 'tracked 1 tick');
  const old = request({ kind: 'syn' });
  track(old, A, 2);
  const selection = createSelection();
  selectBackend(old, selection);
  assert.deepEqual([selection.outcome, selection.backend, selection.events], ['new', B, EVENT_REPLACED]);
});

test('data keeps an entry from expiring but never makes it young', () => {
  const data = request();
  track(data, A, 100);
  assert.equal(choose(data), 'tracked 1 tick');
  assert.equal(entryAge(data.connections, 3, NOW), 2);
});

test('an entry of a dead, foreign or expired backend does not count, and its place is used again', () => {
  const cases: readonly [number, number, number[]][] = [
    [C, 0, [0, 1, 1, 1]],
    [A, 0, [0, 0, 1, 1]],
    [A, LIFETIME + 1, [0, 1, 1, 1]],
  ];
  for (const [backend, age, backendFlags] of cases) {
    const syn = request({ kind: 'syn', backendFlags });
    track(syn, backend, age);
    const selection = createSelection();
    selectBackend(syn, selection);
    assert.deepEqual([selection.backend, selection.events, entryBackend(syn.connections, 3)], [B, EVENT_INSERTED, B]);
  }
});

test('UDP is adopted by previous for a while and goes to current afterwards', () => {
  assert.equal(choose(request({ kind: 'udp', adopting: true })), 'adopted 1 tick');
  assert.equal(choose(request({ kind: 'udp' })), 'new 2');
});

test('an agent is told the other live candidates, previous first, and one without the agent last', () => {
  const both = BACKEND_ALIVE | BACKEND_AGENT;
  const selection = createSelection();
  const told = (a: number, c: number): number[] => {
    selectBackend(request({ kind: 'syn', third: C, backendFlags: [0, a, both, c] }), selection);
    return [selection.firstOther, selection.secondOther];
  };
  assert.deepEqual(told(both, both), [A, C]);
  assert.deepEqual(told(both, BACKEND_ALIVE), [A, C]);
  assert.deepEqual(told(BACKEND_ALIVE, both), [C, A]);
  assert.deepEqual(told(BACKEND_ALIVE, BACKEND_ALIVE), [A, 0], 'what comes to A goes no further');
  assert.notEqual(selection.events & EVENT_KEYED, 0);
  selectBackend(request({ kind: 'syn', third: C, backendFlags: [0, 1, 1, 1] }), selection);
  assert.equal(selection.firstOther, 0);
});

test('a purge takes the entries of one backend only', () => {
  const { connections, flow } = request();
  writeEntry(connections, 0, flow, A, NOW);
  writeEntry(connections, 1, flow, B, NOW);
  assert.equal(purgeBackend(connections, A), 1);
  assert.deepEqual([entryBackend(connections, 0), entryBackend(connections, 1)], [0, B]);
});
