/** One look at a zone's delegation: what servers of its parent say, and what is served here. */
import { type Address, formatAddress } from '../net/address.ts';
import {
  addressesOf,
  compareDelegation,
  type Delegation,
  nameIn,
  type Reading,
  readDelegation,
  recordsOf,
  type ServedZone,
  textOf,
} from '../serve/dns/delegation.ts';
import type { Message } from '../serve/dns/wire/message.ts';
import { formatName, isAtOrBelow, type Name, parentName, parseName, ROOT_NAME } from '../serve/dns/wire/name.ts';
import { CLASS, RECORD_TYPE } from '../serve/dns/wire/numbers.ts';
import { askDns, type Endpoint } from './dns-question.ts';

/** Servers of a parent that are asked. */
const MAX_PARENTS = 4;
/** Of a zone, that addresses are looked up for. */
const MAX_NAME_SERVERS = 16;
const DNS_PORT = 53;

export interface LookOptions {
  readonly netns: string | null;
  /** A name server of ours. */
  readonly own: Endpoint;
  /** Servers of the parent; null: they are found by the resolver. */
  readonly parents: readonly Endpoint[] | null;
  readonly resolver: Endpoint | null;
}

export interface DelegationFinding {
  /** Sentences; the same of several parents' servers once, with those that say so. */
  readonly differences: readonly string[];
  /** Why servers, or all of it, could not be looked at. */
  readonly unknown: readonly string[];
  /** Servers of the parent that answered. */
  readonly asked: readonly string[];
}

export async function lookAtDelegation(zone: Name, options: LookOptions): Promise<DelegationFinding> {
  const parents = options.parents ?? (await findParents(zone, options));
  if (!Array.isArray(parents)) return { differences: [], unknown: [parents as string], asked: [] };
  const seen: { readonly parent: string; readonly delegation: Delegation }[] = [];
  const unknown: string[] = [];
  const differences = new Map<string, string[]>();
  const tell = (difference: string, parent: string): void => {
    differences.set(difference, [...(differences.get(difference) ?? []), parent]);
  };
  for (const parent of (parents as readonly Endpoint[]).slice(0, MAX_PARENTS)) {
    const name = formatAddress(parent.address);
    const answers = await askBoth(zone, parent, options.netns);
    if (!answers.ok) {
      unknown.push(`${name}: ${answers.reason}`);
      continue;
    }
    const read = readDelegation(zone, answers.value.ns, answers.value.ds);
    if (read.ok) seen.push({ parent: name, delegation: read.value });
    else tell(`the parent ${read.reason}`, name);
  }
  const told = seen.flatMap(({ delegation }) => [...delegation.addresses.keys()]);
  const served = seen.length === 0 ? null : await lookAtServed(zone, told, options);
  if (served !== null && !served.ok) unknown.push(served.reason);
  if (served?.ok)
    for (const { parent, delegation } of seen)
      for (const one of compareDelegation(zone, delegation, served.value)) tell(one, parent);
  return {
    differences: [...differences].map(([text, by]) =>
      by.length === seen.length ? text : `${text} (says ${by.join(', ')})`,
    ),
    unknown,
    asked: seen.map(({ parent }) => parent),
  };
}

async function askBoth(
  zone: Name,
  parent: Endpoint,
  netns: string | null,
): Promise<Reading<{ readonly ns: Message; readonly ds: Message }>> {
  const options = { netns, isRecursive: false };
  const ns = await askDns(parent, { name: zone, type: RECORD_TYPE.NS, class: CLASS.IN }, options);
  if (!ns.ok) return ns;
  const ds = await askDns(parent, { name: zone, type: RECORD_TYPE.DS, class: CLASS.IN }, options);
  return ds.ok ? { ok: true, value: { ns: ns.message, ds: ds.message } } : ds;
}

/** Through the sockets of the name server, as others see it. `told`: names that the parent has glue for. */
async function lookAtServed(
  zone: Name,
  told: readonly string[],
  { netns, own }: LookOptions,
): Promise<Reading<ServedZone>> {
  const ask = async (name: Name, type: number): Promise<Message | null> => {
    const reply = await askDns(own, { name, type, class: CLASS.IN }, { netns, isRecursive: false });
    return reply.ok ? reply.message : null;
  };
  const ns = await ask(zone, RECORD_TYPE.NS);
  if (ns === null) return { ok: false, reason: `${formatAddress(own.address)}, which is ours, does not answer` };
  const servers = recordsOf(ns.answers, zone, RECORD_TYPE.NS).map(nameIn);
  const names = new Set([...servers.filter((name) => isAtOrBelow(name, zone)).map(textOf), ...told]);
  const addresses = new Map<string, string[]>();
  for (const text of [...names].slice(0, MAX_NAME_SERVERS)) {
    const parsed = parseName(text, ROOT_NAME);
    if (!parsed.ok) continue;
    const answers = [await ask(parsed.name, RECORD_TYPE.A), await ask(parsed.name, RECORD_TYPE.AAAA)];
    addresses.set(
      text,
      addressesOf(
        answers.flatMap((one) => one?.answers ?? []),
        parsed.name,
      ),
    );
  }
  const dataOf = async (type: number): Promise<Uint8Array[]> =>
    recordsOf((await ask(zone, type))?.answers ?? [], zone, type).map(({ data }) => data.bytes);
  const [keys, cds] = [await dataOf(RECORD_TYPE.DNSKEY), await dataOf(RECORD_TYPE.CDS)];
  return { ok: true, value: { nameServers: servers.map(textOf).sort(), addresses, keys, cds } };
}

/** The name servers of the closest zone above, or why they are not known. */
async function findParents(zone: Name, { resolver, netns }: LookOptions): Promise<readonly Endpoint[] | string> {
  if (resolver === null) return 'neither parents nor a resolver are configured';
  const ask = async (name: Name, type: number): Promise<Message | null> => {
    const reply = await askDns(resolver, { name, type, class: CLASS.IN }, { netns, isRecursive: true });
    return reply.ok ? reply.message : null;
  };
  for (let name = parentName(zone); ; name = parentName(name)) {
    const answer = await ask(name, RECORD_TYPE.NS);
    if (answer === null) return `the resolver ${formatAddress(resolver.address)} does not answer`;
    const servers = recordsOf(answer.answers, name, RECORD_TYPE.NS).map(nameIn);
    if (servers.length > 0)
      return (await addressesOfAll(servers, ask)) ?? `no address of a name server of ${formatName(name)}`;
    if (name[0] === 0) return 'the resolver knows no zone above';
  }
}

async function addressesOfAll(
  servers: readonly Name[],
  ask: (name: Name, type: number) => Promise<Message | null>,
): Promise<readonly Endpoint[] | null> {
  const found: Endpoint[] = [];
  for (const server of servers) {
    for (const [type, family] of [
      [RECORD_TYPE.A, 4],
      [RECORD_TYPE.AAAA, 6],
    ] as const) {
      const [first] = recordsOf((await ask(server, type))?.answers ?? [], server, type);
      if (first === undefined) continue;
      const address: Address = { family, bytes: first.data.bytes };
      found.push({ address, port: DNS_PORT });
      break;
    }
    if (found.length === MAX_PARENTS) break;
  }
  return found.length > 0 ? found : null;
}
