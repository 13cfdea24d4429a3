/** The agent's kernel program without any interface: loaded with the state of a model agent and run by test-run. */
import { join } from 'node:path';
import type { AgentQuic, AgentState } from '../../src/model/agent.ts';
import { AGENT_OUTCOMES, type AgentOutcome } from '../../src/model/layout.ts';
import type { MappedPrefix } from '../../src/model/longest-prefix.ts';
import { countPossibleCpus } from '../../src/serve/vip/balancer-object.ts';
import { deleteElement, listKeys, type RunResult, runProgram, updateElement } from '../../src/serve/vip/bpf.ts';
import {
  ADDRESS_PREFIX,
  AddressPrefixView,
  AGENT_COUNTERS,
  AGENT_PORT,
  AGENT_PORT_PREFIX,
  AGENT_SETTINGS,
  AgentPortPrefixView,
  AgentPortView,
  AgentQuicView,
  AgentSettingsView,
  MAX_BACKENDS,
  MEMBER,
  MemberView,
} from '../../src/serve/vip/layout.gen.ts';
import { type MappedMemory, mapMemory } from '../../src/serve/vip/libc.ts';
import { BpfObject } from '../../src/serve/vip/object.ts';

export interface KernelAgent {
  /** Writes all maps; counters start at 0. */
  load(agent: AgentState): void;
  run(frame: Uint8Array): RunResult;
  readCounters(): Record<AgentOutcome, number>;
  close(): void;
}

export function openKernelAgent(objects: string): KernelAgent {
  const cpus = countPossibleCpus();
  const object = new BpfObject(join(objects, 'backend.bpf.o'));
  object.setMaxEntries('agent_counters', cpus);
  object.load();
  const memories: MappedMemory[] = [];
  const map = (name: string, lengthBytes: number): ArrayBuffer => {
    const memory = mapMemory(object.mapFd(name), lengthBytes, name);
    memories.push(memory);
    return memory.buffer;
  };
  const counters = new BigUint64Array(map('agent_counters', cpus * AGENT_COUNTERS.sizeBytes));
  const settings = new AgentSettingsView(map('agent_settings', AGENT_SETTINGS.sizeBytes));
  const members = new MemberView(map('agent_candidates', MAX_BACKENDS * MEMBER.sizeBytes));
  const program = object.programFd('backend');
  return {
    load(agent) {
      settings.setAddress4(agent.address4);
      settings.setAddress6(agent.address6);
      members.memory.fill(0);
      agent.candidates.forEach((candidate, index) => {
        if (candidate === undefined) return;
        const view = members.at(index);
        view.setAddress(candidate.address);
        view.setNextHopMac(candidate.nextHopMac);
        view.setOwnMac(candidate.ownMac);
        view.ifindex = candidate.ifindex;
        view.flags = candidate.flags;
        view.egress = candidate.egress ?? 0;
      });
      replaceKeys(object.mapFd('agent_members'), agent.members);
      settings.hasPrefixes = agent.prefixes.length > 0 ? 1 : 0;
      // Members are prefixes of 128 bits here.
      const members128 = [...agent.members].map((member) => ({ bits: 128, address: addressBytes(member) }));
      replacePrefixes(object.mapFd('agent_prefixes'), [...agent.prefixes, ...members128]);
      replacePrefixes(object.mapFd('agent_vip_prefixes'), agent.vipPrefixes);
      replaceQuicPrefixes(object.mapFd('agent_quic_prefixes'), agent.quicPrefixes);
      replaceKeys(object.mapFd('agent_vips'), agent.vips);
      for (const key of listKeys(object.mapFd('agent_quic'), AGENT_PORT.sizeBytes))
        deleteElement(object.mapFd('agent_quic'), key);
      for (const [key, quic] of agent.quic) writeQuic(object.mapFd('agent_quic'), key, quic);
      counters.fill(0n);
    },
    run: (frame) => runProgram(program, frame),
    readCounters() {
      const sum = (outcome: number) => {
        let all = 0;
        for (let cpu = 0; cpu < cpus; cpu++) all += Number(counters[cpu * AGENT_OUTCOMES.length + outcome]);
        return all;
      };
      return Object.fromEntries(AGENT_OUTCOMES.map((name, i) => [name, sum(i)])) as Record<AgentOutcome, number>;
    },
    close() {
      for (const memory of memories) memory.unmap();
      object.close();
    },
  };
}

/** `key`: of `agentPortKey`: eight characters of address, then the port. */
function writeQuic(fd: number, key: string, quic: AgentQuic): void {
  const port = new AgentPortView();
  port.setVip(addressBytes(key.slice(0, 8)));
  port.port = Number(key.slice(8));
  updateElement(fd, port.memory, quicValue(quic));
}

function quicValue(quic: AgentQuic): Uint8Array {
  const value = new AgentQuicView();
  value.id = quic.serverId;
  value.config = quic.configId;
  value.idBytes = quic.serverIdBytes;
  return value.memory;
}

function replaceQuicPrefixes(fd: number, prefixes: AgentState['quicPrefixes']): void {
  for (const key of listKeys(fd, AGENT_PORT_PREFIX.sizeBytes)) deleteElement(fd, key);
  for (const { address, bits, port, own } of prefixes) {
    const key = new AgentPortPrefixView();
    key.bits = 32 + bits;
    key.port = port;
    key.setVip(address);
    updateElement(fd, key.memory, quicValue(own));
  }
}

function addressBytes(key: string): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = key.charCodeAt(i >> 1) >>> (i % 2 === 0 ? 8 : 0);
  return bytes;
}

function replaceKeys(fd: number, keys: ReadonlySet<string>): void {
  for (const key of listKeys(fd, 16)) deleteElement(fd, key);
  for (const key of keys) {
    updateElement(fd, addressBytes(key), Uint8Array.of(1, 0, 0, 0));
  }
}

function replacePrefixes(fd: number, prefixes: readonly MappedPrefix[]): void {
  for (const key of listKeys(fd, ADDRESS_PREFIX.sizeBytes)) deleteElement(fd, key);
  for (const { address, bits } of prefixes) {
    const key = new AddressPrefixView();
    key.bits = bits;
    key.setAddress(address);
    updateElement(fd, key.memory, Uint8Array.of(1, 0, 0, 0));
  }
}
