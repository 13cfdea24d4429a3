/**
 * One process that takes over balancers and backends, says what it found, and leaves them: run from the tree of another version, it is
 * that version's upgrade. Usage: node take-over.ts MACHINES, in JSON what forwarders and agents are opened with.
 */
import { type Address, parseAddress } from '../../net/address.ts';
import { type AgentOptions, openAgent } from '../../serve/vip/agent.ts';
import { type ForwarderOptions, openForwarder } from '../../serve/vip/forwarder.ts';
import { AGENT_OUTCOME, OUTCOME } from '../../serve/vip/layout.gen.ts';
import type { Inheritance } from '../../serve/vip/takeover.ts';

/** Addresses and keys as text: hexadecimal digits. */
export interface Machines {
  readonly balancers: readonly (Omit<ForwarderOptions, 'hashKey' | 'addresses'> & {
    readonly hashKey: string;
    readonly addresses: readonly string[];
  })[];
  readonly agents: readonly (Omit<AgentOptions, 'addresses'> & { readonly addresses: readonly string[] })[];
}

export interface BalancerReport {
  readonly inheritance: Inheritance | null;
  readonly services: readonly object[];
  readonly backends: readonly object[];
  /** Packets of all services to settled backends, by all versions. */
  readonly settled: number;
}

export interface AgentReport {
  readonly inheritance: Inheritance | null;
  /** Packets that were taken out of their encapsulation, by all versions. */
  readonly delivered: number;
}

export interface TakeOverReport {
  readonly balancers: readonly BalancerReport[];
  readonly agents: readonly AgentReport[];
}

function readAddresses(texts: readonly string[]): Address[] {
  return texts.map((text) => {
    const found = parseAddress(text);
    if (found === null) throw new Error(`${text} is no address`);
    return found;
  });
}

function takeOverBalancer({ hashKey, addresses, ...options }: Machines['balancers'][number]): BalancerReport {
  const key = Uint8Array.from(Buffer.from(hashKey, 'hex'));
  const forwarder = openForwarder({ ...options, hashKey: key, addresses: readAddresses(addresses) });
  // A hash map has no order.
  const services = forwarder.services.list().sort((a, b) => a.subject - b.subject);
  const settled = services.map(({ subject }) => forwarder.counters.read(subject).outcome[OUTCOME.SETTLED]);
  const report = {
    inheritance: forwarder.inheritance,
    services,
    backends: forwarder.listBackends(),
    settled: settled.reduce((sum, count) => sum + count, 0),
  };
  forwarder.close({ keep: true });
  return report;
}

async function takeOverAgent({ addresses, ...options }: Machines['agents'][number]): Promise<AgentReport> {
  const agent = openAgent({ ...options, addresses: readAddresses(addresses) });
  const delivered = agent.counters.read()[AGENT_OUTCOME.DELIVERED];
  await agent.close({ keep: true });
  return { inheritance: agent.inheritance, delivered };
}

if (import.meta.main) {
  try {
    const machines: Machines = JSON.parse(process.argv[2]);
    const agents = [];
    for (const agent of machines.agents) agents.push(await takeOverAgent(agent));
    const report: TakeOverReport = { balancers: machines.balancers.map(takeOverBalancer), agents };
    process.stdout.write(JSON.stringify(report));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  }
}
