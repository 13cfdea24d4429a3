/** The state of a name server as the API shows it: who asks, what is logged, what it serves. */
import type { AnycastRole } from '../fleet/anycast-role.ts';
import type { DelegationState } from '../fleet/delegation-watch.ts';
import type { Runtime } from '../fleet/runtime.ts';
import { formatAddress } from '../net/address.ts';
import type { QueryLogStatus } from '../serve/dns/query-log/query-log.ts';
import type { DnsTop, TopEntry } from '../serve/dns/query-log/statistics.ts';
import { secondaryStatus } from './secondary-status.ts';
import type {
  AnycastStatus,
  DelegationStatus,
  DnsTopStatus,
  NameServerStatus,
  QueryLogTarget,
  TopCount,
} from './source.ts';

/** Lines of each list in the state; `GET /dns/top` has more. */
const SHOWN = 5;

export function nameServerStatus(runtime: Runtime, name: string): NameServerStatus {
  const listen = (runtime.config.nameServers.get(name)?.listen ?? []).map(
    ({ address, port }) => `${address.family === 6 ? `[${formatAddress(address)}]` : formatAddress(address)}:${port}`,
  );
  const role = runtime.nameServers.get(name);
  if (role === undefined)
    return {
      name,
      listen,
      state: 'elsewhere',
      reason: null,
      epoch: null,
      logs: [],
      anycast: null,
      secondaries: [],
      signing: [],
      top: null,
    };
  const { queryLog } = role.server;
  const top = topStatus(name, queryLog.top(SHOWN));
  return {
    name,
    listen,
    state: 'answering',
    reason: null,
    epoch: role.epoch,
    logs: logTargets(queryLog.status),
    anycast: role.anycast === null ? null : anycastStatus(role.anycast),
    secondaries: secondaryStatus(runtime, name),
    signing: role.server.signing(),
    top,
  };
}

function anycastStatus({ addresses, news, isDrained }: AnycastRole): AnycastStatus {
  return {
    addresses,
    announced: news?.isAnnounced ?? false,
    drained: isDrained,
    reason: news === null ? 'its guard has not told anything yet' : news.reason,
    sessions: (news?.sessions ?? []).map(({ router, isUp, info }) => ({ router, up: isUp, info })),
  };
}

/** Sentences about what an operator should look at. */
export function nameServerProblems({ name, anycast, logs, signing }: NameServerStatus): string[] {
  const problems = logs
    .filter(({ open }) => !open)
    .map(
      ({ kind, target, reason }) => `the ${kind} log of ${name} cannot be written to ${target}: ${reason ?? 'not yet'}`,
    );
  if (anycast !== null && !anycast.announced)
    problems.push(
      `name server ${name} does not announce ${anycast.addresses.join(', ')}: ${anycast.reason ?? 'not yet'}`,
    );
  for (const { zone, problem } of signing) if (problem !== null) problems.push(`${zone} at ${name}: ${problem}`);
  return problems;
}

export function dnsTops(runtime: Runtime, count: number): DnsTopStatus[] {
  return [...runtime.nameServers.values()].map(({ name, server }) => topStatus(name, server.queryLog.top(count)));
}

function topStatus(server: string, top: DnsTop): DnsTopStatus {
  return {
    server,
    seconds: Math.round(top.seconds),
    sampledEvery: top.sampledEvery,
    queriesPerSecond: rounded(top.queriesPerSecond),
    clients: top.clients.map(countOf),
    names: top.names.map(countOf),
    nxdomainNames: top.nxdomainNames.map(countOf),
    nxdomainParents: top.nxdomainParents.map(countOf),
  };
}

function countOf({ key, perSecond, errorPerSecond }: TopEntry): TopCount {
  return { key, perSecond: rounded(perSecond), errorPerSecond: rounded(errorPerSecond) };
}

/** Lists of minutes know thousandths. */
function rounded(perSecond: number): number {
  return Math.round(perSecond * 1000) / 1000;
}

function logTargets({ dnstap, json, dropped }: QueryLogStatus): QueryLogTarget[] {
  return [
    { kind: 'dnstap' as const, sink: dnstap },
    { kind: 'json' as const, sink: json },
  ].flatMap(({ kind, sink }) => {
    if (sink === null) return [];
    const { target, isOpen, reason, written, dropped: lost } = sink;
    return [{ kind, target, open: isOpen, reason, written, dropped: lost + dropped.log }];
  });
}

export function delegationStatus({ zone, lookedMs, differences, unknown, asked }: DelegationState): DelegationStatus {
  const lookedSecondsAgo = Math.round((Date.now() - lookedMs) / 1000);
  const state = differences.length > 0 ? 'differs' : unknown.length > 0 ? 'unknown' : 'same';
  return { zone, lookedSecondsAgo, state, differences, unknown, asked };
}

export function delegationProblems({ zone, differences }: DelegationStatus): string[] {
  return differences.map((difference) => `delegation of ${zone}: ${difference}`);
}
