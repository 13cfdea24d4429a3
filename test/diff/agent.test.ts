/** Random encapsulated frames through the model of the agent and backend.bpf.o, without any sockets. Needs root. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  type AgentCandidate,
  type AgentQuic,
  type AgentState,
  agentPortKey,
  createAgentCounters,
  processEncapsulated,
} from '../../src/model/agent.ts';
import { encapsulate, outerProtocol } from '../../src/model/encapsulate.ts';
import { addressKey, type EngineBackend } from '../../src/model/engine.ts';
import {
  AGENT_OUTCOMES,
  BACKEND_IPV6,
  EGRESS_STRIP,
  EGRESS_TAG,
  FORWARDING_IPIP,
  FORWARDING_UNSAID,
} from '../../src/model/layout.ts';
import { parseIp } from '../../src/model/parse.ts';
import { toMapped } from '../../src/net/address.ts';
import { createDice, type Dice } from './dice.ts';
import { mutate, randomFrame } from './frames.ts';
import { type KernelAgent, openKernelAgent } from './kernel-agent.ts';
import {
  BACKEND_INDICES,
  createWorld,
  PORTS,
  QUIC_CONFIG,
  randomPrefix,
  serverId as serverIdOf,
  type World,
} from './world.ts';

const PACKETS = Number(process.env.PORTICO_PACKETS ?? 400_000) / 4;
const FIXED_SEED = 20261121;
const PACKETS_PER_WORLD = 2_000;
const LOOPBACK = 1;
const CANDIDATES = 4;

let kernel: KernelAgent;

before(() => {
  kernel = openKernelAgent(join(import.meta.dirname, '../../build/bpf'));
});

after(() => kernel?.close());

interface AgentWorld {
  readonly world: World;
  readonly agent: AgentState;
  /** Sources, members or not. */
  readonly sources: readonly Uint8Array[];
}

function createAgentWorld(dice: Dice): AgentWorld {
  const world = createWorld(dice);
  const none = new Uint8Array(16);
  const mapped = () => toMapped({ family: 4, bytes: dice.bytes(4) });
  const sources = [mapped(), mapped(), dice.bytes(16), dice.bytes(16)];
  const vips = [...world.engine.vips.keys()].filter(() => dice.chance(85));
  const agent: AgentState = {
    address4: dice.chance(90) ? mapped() : none,
    address6: dice.chance(90) ? dice.bytes(16) : none,
    members: new Set(sources.filter(() => dice.chance(90)).map((source) => addressKey(source, 0, 16))),
    prefixes: dice.chance(50) ? [] : sources.filter(() => dice.chance(60)).map((source) => randomPrefix(dice, source)),
    vips: new Set(vips),
    vipPrefixes: world.prefixes.filter(() => dice.chance(85)),
    quic: new Map(vips.filter(() => dice.chance(70)).map((vip) => randomQuicPort(dice, vip))),
    quicPrefixes: world.prefixes.flatMap((prefix) =>
      dice.chance(70) ? [{ ...prefix, port: dice.pick([0, ...PORTS]), own: randomQuic(dice) }] : [],
    ),
    candidates: [undefined, ...Array.from({ length: CANDIDATES }, () => randomCandidate(dice))],
    counters: createAgentCounters(),
  };
  return { world, agent, sources };
}

/** As most frames have it, so that IDs are this machine's, another's and nobody's. */
function randomQuic(dice: Dice): AgentQuic {
  const serverIdBytes = dice.pick([1, 2, 2, 2, 3, 8]);
  const serverId = serverIdOf(dice.pick(BACKEND_INDICES), serverIdBytes);
  const configId = dice.chance(80) ? QUIC_CONFIG : dice.below(8);
  return { configId, serverIdBytes, serverId };
}

function randomQuicPort(dice: Dice, vip: string): [string, AgentQuic] {
  return [agentPortKey(vip, dice.pick([0, ...PORTS])), randomQuic(dice)];
}

function randomCandidate(dice: Dice): AgentCandidate {
  const isIpv6 = dice.chance(50);
  return {
    address: isIpv6 ? dice.bytes(16) : toMapped({ family: 4, bytes: dice.bytes(4) }),
    nextHopMac: dice.bytes(6),
    ownMac: dice.bytes(6),
    ifindex: dice.pick([LOOPBACK, LOOPBACK, 9, 9, 0]),
    flags: isIpv6 ? BACKEND_IPV6 : 0,
    egress: dice.chance(75) ? 0 : dice.pick([EGRESS_TAG | dice.below(4096), EGRESS_STRIP]),
  };
}

/** A frame as a balancer would send it to this machine, more or less. */
function encapsulatedFrame(dice: Dice, { world, agent, sources }: AgentWorld): Uint8Array {
  const inner = randomFrame(dice, world);
  const ip = parseIp(inner);
  if (ip === null || dice.chance(2)) return inner;
  const isIpv6 = dice.chance(50);
  const backend: EngineBackend = {
    address: dice.chance(98) ? (isIpv6 ? agent.address6 : agent.address4) : dice.bytes(16),
    source: dice.chance(98) ? sources[(isIpv6 ? 2 : 0) + dice.below(2)] : dice.bytes(16),
    nextHopMac: dice.bytes(6),
    ownMac: dice.bytes(6),
    mtuBytes: 0xffff,
    ifindex: LOOPBACK,
    flags: isIpv6 ? BACKEND_IPV6 : 0,
    forwarding: FORWARDING_UNSAID,
  };
  const candidate = () => dice.pick([0, dice.below(CANDIDATES + 1), dice.below(CANDIDATES + 1), dice.below(0x10000)]);
  const forwarding = 1 + dice.below(3);
  const key = forwarding === FORWARDING_IPIP || dice.chance(25) ? 0 : ((candidate() << 16) | candidate()) >>> 0;
  const sent = encapsulate(inner, ip, backend, {
    protocol: outerProtocol(forwarding, ip.version),
    sourcePort: dice.below(0x10000),
    flowLabel: dice.bits() & 0xfffff,
    key,
  });
  if (sent === null) return inner;
  return dice.chance(12) ? mutate(dice, sent, ip.offset) : sent;
}

function runAgent(seed: number, packets: number): string {
  const worlds = createDice(seed);
  const sum = createAgentCounters();
  for (let done = 0; done < packets; done += PACKETS_PER_WORLD) {
    const worldSeed = worlds.bits();
    const dice = createDice(worldSeed);
    const state = createAgentWorld(dice);
    kernel.load(state.agent);
    for (let number = 0; number < PACKETS_PER_WORLD; number++)
      compare(state.agent, encapsulatedFrame(dice, state), `seed ${seed}, world ${worldSeed}, packet ${number}`);
    assert.deepEqual(kernel.readCounters(), state.agent.counters, `counters of world ${worldSeed}`);
    for (const outcome of AGENT_OUTCOMES) sum[outcome] += state.agent.counters[outcome];
  }
  for (const outcome of AGENT_OUTCOMES) assert.ok(packets < 100_000 || sum[outcome] > packets / 5_000, outcome);
  const shares = AGENT_OUTCOMES.map((outcome) => `${outcome} ${((sum[outcome] / packets) * 100).toFixed(2)} %`);
  return `agent: ${packets} packets, seed ${seed}, 0 differences: ${shares.join(', ')}`;
}

function compare(agent: AgentState, frame: Uint8Array, where: string): void {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  const model = processEncapsulated(agent, frame, LOOPBACK, () => false);
  const run = kernel.run(frame);
  if (run.verdict === model.verdict && Buffer.compare(run.frame, model.frame) === 0) return;
  assert.fail(
    `model and kernel differ (${where})\nframe: ${hex(frame)}\n` +
      `model: ${model.verdict} ${model.outcome}: ${hex(model.frame)}\nkernel: ${run.verdict}: ${hex(run.frame)}`,
  );
}

test(`model and agent program agree on ${PACKETS} random packets`, (context) => {
  context.diagnostic(runAgent(FIXED_SEED, PACKETS));
});

test('and the agent on packets that were never tried before', (context) => {
  const given = process.env.PORTICO_SEED;
  context.diagnostic(runAgent(given === undefined ? randomInt(2 ** 32) : Number(given) >>> 0, PACKETS / 2));
});

test('no key takes a packet over more than two hops, not even between machines that know nobody but each other', () => {
  const dice = createDice(FIXED_SEED);
  const hops = [0, 0, 0];
  for (let world = 0; world < 20; world++) {
    const state = createAgentWorld(dice);
    const own = state.agent.address4.some((byte) => byte !== 0) ? state.agent.address4 : state.agent.address6;
    const isIpv6 = own === state.agent.address6;
    // Every candidate is the machine itself, and it is a member: whatever goes on comes back, and is looked at anew.
    const self = { ...randomCandidate(dice), address: own, ifindex: LOOPBACK, flags: isIpv6 ? BACKEND_IPV6 : 0 };
    const agent: AgentState = {
      ...state.agent,
      members: new Set([...state.agent.members, addressKey(own, 0, 16)]),
      candidates: [undefined, self, self, self, self],
    };
    kernel.load(agent);
    for (let number = 0; number < 1_000; number++) {
      let frame = encapsulatedFrame(dice, { ...state, agent });
      let count = 0;
      for (; ; count++) {
        const model = processEncapsulated(agent, frame, LOOPBACK, () => false);
        const run = kernel.run(frame);
        assert.deepEqual([run.verdict, Buffer.from(run.frame)], [model.verdict, Buffer.from(model.frame)]);
        if (model.outcome !== 'forwarded') break;
        frame = run.frame;
      }
      assert.ok(count <= 2, `${count} hops`);
      hops[count]++;
    }
  }
  assert.ok(
    hops.every((count) => count > 100),
    `packets by hops: ${hops}`,
  );
});
