import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as model from '../../src/model/layout.ts';
import { PREFIX_SET_WORDS, TALLY_WORDS } from '../../src/model/prefixes.ts';
import * as kernel from '../../src/serve/vip/layout.gen.ts';

test('the model has the numbers and names of bpf/layout.h', () => {
  assert.deepEqual(model.OUTCOMES, kernel.OUTCOME_NAMES);
  assert.deepEqual(model.EVENTS, kernel.EVENT_NAMES);
  assert.deepEqual(model.AGENT_OUTCOMES, kernel.AGENT_OUTCOME_NAMES);
  const { INSERTED, REPLACED, REFUSED_FULL, REFUSED_PRESSURE, KEYED, ANSWERED, UNANSWERED } = kernel.EVENT;
  assert.deepEqual(
    [
      model.EVENT_INSERTED,
      model.EVENT_REPLACED,
      model.EVENT_REFUSED_FULL,
      model.EVENT_REFUSED_PRESSURE,
      model.EVENT_KEYED,
      model.EVENT_ANSWERED,
      model.EVENT_UNANSWERED,
    ],
    [INSERTED, REPLACED, REFUSED_FULL, REFUSED_PRESSURE, KEYED, ANSWERED, UNANSWERED].map((event) => 1 << event),
  );
  assert.deepEqual(
    [
      model.MAX_BACKENDS,
      model.BUCKET_ENTRIES,
      model.AGE_MASK,
      model.YOUNG_TICKS,
      model.VIP_ECHO,
      model.SERVICE_UNREACHABLE,
      model.SERVICE_NAT_TUPLES,
    ],
    [
      kernel.MAX_BACKENDS,
      kernel.BUCKET_ENTRIES,
      kernel.AGE_MASK,
      kernel.YOUNG_TICKS,
      kernel.VIP_ECHO,
      kernel.SERVICE_UNREACHABLE,
      kernel.SERVICE_NAT_TUPLES,
    ],
  );
  assert.deepEqual(
    [model.BACKEND_ALIVE, model.BACKEND_AGENT, model.BACKEND_IPV6],
    [kernel.BACKEND_ALIVE, kernel.BACKEND_AGENT, kernel.BACKEND_IPV6],
  );
  assert.deepEqual(
    [
      model.STATE_OPENING,
      model.STATE_OPEN,
      model.STATE_CLOSING,
      model.STATE_PHASE,
      model.STATE_ENDED,
      model.STATE_COUNTED,
    ],
    [
      kernel.STATE_OPENING,
      kernel.STATE_OPEN,
      kernel.STATE_CLOSING,
      kernel.STATE_PHASE,
      kernel.STATE_ENDED,
      kernel.STATE_COUNTED,
    ],
  );
  assert.deepEqual(
    [model.OPENING_TICKS, model.CLOSING_TICKS, model.ENDED_TICKS, model.REOPEN_TICKS, model.MAX_PICKS],
    [kernel.OPENING_TICKS, kernel.CLOSING_TICKS, kernel.ENDED_TICKS, kernel.REOPEN_TICKS, kernel.MAX_PICKS],
  );
  assert.deepEqual(
    [model.SERVICE_TRACK_ALL, model.SERVICE_HASH_SOURCE],
    [kernel.SERVICE_TRACK_ALL, kernel.SERVICE_HASH_SOURCE],
  );
  const { ROUND_ROBIN, RANDOM, LEAST_CONNECTIONS } = kernel.SCHEDULER;
  assert.deepEqual(model.SCHEDULERS, kernel.SCHEDULER_NAMES);
  assert.deepEqual(
    [model.SCHEDULER_ROUND_ROBIN, model.SCHEDULER_RANDOM, model.SCHEDULER_LEAST_CONNECTIONS],
    [ROUND_ROBIN, RANDOM, LEAST_CONNECTIONS],
  );
  assert.deepEqual(
    [kernel.SLOT_TICK_SHIFT, kernel.SLOT_GENERATION_SHIFT, kernel.SLOT_THIRD_SHIFT, kernel.SLOT_PREVIOUS_SHIFT],
    [52, 36, 24, 12],
    'decide/slot-word.ts has them as numbers',
  );
  assert.deepEqual(
    [model.EGRESS_VLAN_MASK, model.EGRESS_TAG, model.EGRESS_STRIP, model.EGRESS_STALE],
    [kernel.EGRESS_VLAN_MASK, kernel.EGRESS_TAG, kernel.EGRESS_STRIP, kernel.EGRESS_STALE],
  );
  assert.deepEqual(model.FORWARDINGS, kernel.FORWARDING_NAMES);
  const { UNSAID, GRE, IPIP, GUE, L2, NAT } = kernel.FORWARDING;
  assert.deepEqual(
    [
      model.FORWARDING_UNSAID,
      model.FORWARDING_GRE,
      model.FORWARDING_IPIP,
      model.FORWARDING_GUE,
      model.FORWARDING_L2,
      model.FORWARDING_NAT,
    ],
    [UNSAID, GRE, IPIP, GUE, L2, NAT],
  );
  assert.deepEqual(model.REASONS, kernel.REASON_NAMES);
  assert.deepEqual(
    [model.EVENT_HANDED_UP, model.EVENT_HAND_UP_LIMITED],
    [1 << kernel.EVENT.HANDED_UP, 1 << kernel.EVENT.HAND_UP_LIMITED],
  );
  const { VIP_OWN, OWNER_SLOTS, FRAGMENT_REGIONS, FRAGMENT_REGION_BUCKETS, FRAGMENT_ENTRIES, FRAGMENT_LIFETIME } =
    kernel;
  assert.deepEqual(
    [model.VIP_OWN, model.OWNER_SLOTS, model.FRAGMENT_REGIONS, model.FRAGMENT_REGION_BUCKETS, model.FRAGMENT_ENTRIES],
    [VIP_OWN, OWNER_SLOTS, FRAGMENT_REGIONS, FRAGMENT_REGION_BUCKETS, FRAGMENT_ENTRIES],
  );
  assert.equal(model.FRAGMENT_REGIONS * model.FRAGMENT_REGION_BUCKETS, kernel.FRAGMENT_BUCKETS);
  assert.deepEqual(
    [model.FRAGMENT_LIFETIME, model.FRAGMENT_TCP, model.FRAGMENT_KNOWN, model.FRAGMENT_AGE_MASK],
    [FRAGMENT_LIFETIME, kernel.FRAGMENT_TCP, kernel.FRAGMENT_KNOWN, kernel.FRAGMENT_AGE_MASK],
  );
  assert.equal(kernel.PRESSURE.sizeBytes, 64);
  assert.deepEqual([kernel.PREFIX_SET.sizeBytes, kernel.TALLY.sizeBytes], [4 * PREFIX_SET_WORDS, 4 * TALLY_WORDS]);
});
