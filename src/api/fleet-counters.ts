/** All counters of a running fleet, with the names that metrics use. */
import type { Runtime } from '../fleet/runtime.ts';
import type { SiteRuntime } from '../fleet/site-runtime.ts';
import { formatHostOrPrefix } from '../net/address.ts';
import type { DnsKernel } from '../serve/dns/kernel/dns-kernel.ts';
import type { QueryLogStatus } from '../serve/dns/query-log/query-log.ts';
import { createTotals } from '../serve/vip/counters.ts';
import { AGENT_OUTCOME_NAMES, EVENT_NAMES, OUTCOME_NAMES } from '../serve/vip/layout.gen.ts';
import type { SlowPath } from '../serve/vip/slow-path.ts';
import type { AgentCounters, BalancerCounters, Counters, NameServerCounters, SubjectCounters } from './source.ts';

const totals = createTotals();

/** Metric names have no hyphens. */
function metricNames(names: readonly string[]): readonly string[] {
  return names.map((name) => name.replaceAll('-', '_'));
}

const OUTCOMES = metricNames(OUTCOME_NAMES);
const EVENTS = metricNames(EVENT_NAMES);
const AGENT_OUTCOMES = metricNames(AGENT_OUTCOME_NAMES);

function byName(names: readonly string[], values: Float64Array): Record<string, number> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] as number]));
}

export function fleetCounters(runtime: Runtime): Counters {
  const sites = [...runtime.sites.values()];
  return {
    balancers: sites.flatMap(balancerCounters),
    agents: sites.flatMap(agentCounters),
    nameServers: [...runtime.nameServers.values()].map(({ name, server, kernel }): NameServerCounters => {
      const {
        queries,
        responses,
        dropped,
        types,
        choices,
        policies,
        sites: answers,
        tcp,
        edns,
        ecs,
        truncated,
        limits,
        cookies,
        dnssec,
        signatures,
        transfers,
        notifies,
      } = server.counters;
      const { groups, status } = server.queryLog;
      const secondaries = {
        signatures: { ...signatures },
        transfers: { ...transfers },
        notifies: { ...notifies },
      };
      const features = {
        ...secondaries,
        edns,
        ecs,
        truncated,
        limits,
        cookies,
        dnssec: { ...dnssec },
        groups,
        logged: loggedCounters(status),
        kernel: kernelOutcomes(kernel),
      };
      return { server: name, queries, responses, dropped, types, choices, policies, sites: answers, tcp, ...features };
    }),
  };
}

function kernelOutcomes(kernel: DnsKernel | null): Record<string, number> {
  const outcomes = Object.entries(kernel?.outcomes() ?? {});
  return Object.fromEntries(outcomes.map(([name, count]) => [name.replaceAll('-', '_'), count]));
}

function loggedCounters({ dnstap, json, dropped }: QueryLogStatus): Record<string, number> {
  return {
    dnstap_written: dnstap?.written ?? 0,
    dnstap_dropped: dnstap?.dropped ?? 0,
    json_written: json?.written ?? 0,
    json_dropped: json?.dropped ?? 0,
    ring_dropped: dropped.log,
    statistics_dropped: dropped.statistics,
  };
}

function balancerCounters(site: SiteRuntime): BalancerCounters[] {
  const subjects: { kind: SubjectCounters['kind']; name: string; subject: number }[] = [
    { kind: 'none', name: '', subject: 0 },
    ...site.plan.vips.map(({ prefix, subject }) => ({
      kind: 'vip' as const,
      name: formatHostOrPrefix(prefix),
      subject,
    })),
    ...site.plan.services.map(({ service, subject }) => ({ kind: 'service' as const, name: service.name, subject })),
  ];
  return [...site.balancers.values()].map((role) => ({
    site: site.name,
    balancer: role.name,
    slowPath: slowPathCounters(role.slowPath),
    subjects: subjects.map(({ kind, name, subject }): SubjectCounters => {
      role.forwarder.counters.read(subject, totals);
      const { outcome, event, bytes, newConnections } = totals;
      return { kind, name, outcomes: byName(OUTCOMES, outcome), events: byName(EVENTS, event), bytes, newConnections };
    }),
  }));
}

function slowPathCounters(slowPath: SlowPath | null): Record<string, number> {
  if (slowPath === null) return {};
  const { released, expired, refusedPrefix, refusedAll, split, pieces, dropped, sent, unsent } = slowPath.status();
  return {
    released,
    expired,
    refused_prefix: refusedPrefix,
    refused: refusedAll,
    split,
    pieces,
    dropped,
    sent,
    unsent,
  };
}

function agentCounters(site: SiteRuntime): AgentCounters[] {
  return [...site.backends.values()].map((role) => ({
    site: site.name,
    backend: role.name,
    outcomes: byName(AGENT_OUTCOMES, role.agent.counters.read()),
  }));
}
