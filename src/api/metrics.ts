/**
 * `GET /metrics`: every counter of the kernel programs and the DNS servers, and the state as gauges, in Prometheus' text
 * format. Labels are names from the configuration and the fixed names of outcomes, so the sets are bounded by it.
 */
import { Counter, collectDefaultMetrics, Registry } from 'prom-client';
import { gauge, type Row } from './gauge.ts';
import { measuredGauges } from './measured-metrics.ts';
import type { ApiSource, Counters, SigningStatus, SiteServiceStatus, Status } from './source.ts';
import type { SteeringStatus } from './steering.ts';

export interface Metrics {
  readonly contentType: string;
  /** Reads all counters and the state, and writes them down. Cost: some microseconds a series. */
  render(): Promise<string>;
}

/** A registry of its own, so that two Porticos in a process do not mix. */
export function createMetrics(source: ApiSource): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const setCounters = [
    ...kernelCounters(registry),
    ...dnsCounters(registry),
    signingCounters(registry),
    ...secondaryCounters(registry),
  ];
  const setGauges = [systemGauges, signingGauges, siteGauges, serviceGauges].flatMap((make) => make(registry));
  const setSteering = [...steeringGauges(registry), ...measuredGauges(registry)];
  return {
    contentType: registry.contentType,
    render() {
      const counters = source.counters();
      const status = source.status();
      for (const set of setCounters) set(counters);
      for (const set of setGauges) set(status);
      const steering = source.steering.status();
      for (const set of setSteering) set(steering);
      return registry.metrics();
    },
  };
}

/** A counter whose values are kept elsewhere: written anew each time. */
function counter(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly string[],
  rowsOf: (counters: Counters) => Iterable<Row>,
): (counters: Counters) => void {
  const metric = new Counter({ name, help, labelNames: [...labelNames], registers: [registry] });
  return (counters) => {
    metric.reset();
    for (const [labels, value] of rowsOf(counters)) metric.inc(labels, value);
  };
}

function signingCounters(registry: Registry): (counters: Counters) => void {
  const help = 'Denials of signed zones: signed for a query, used again, refused for one client or for all.';
  return counter(registry, 'portico_dns_signing_total', help, ['server', 'event'], function* ({ nameServers }) {
    for (const { server, dnssec } of nameServers) yield* each(dnssec, 'event', { server });
  });
}

/** A row for each name in `counts`, which becomes the value of `label`. */
function* each(counts: Readonly<Record<string, number>>, label: string, labels: Record<string, string>): Iterable<Row> {
  for (const [name, value] of Object.entries(counts)) yield [{ ...labels, [label]: name }, value];
}

function kernelCounters(registry: Registry): ((counters: Counters) => void)[] {
  const subjectLabels = ['site', 'balancer', 'kind', 'subject'];
  function* subjects(counters: Counters) {
    for (const { site, balancer, subjects: all } of counters.balancers) {
      for (const one of all) yield { one, labels: { site, balancer, kind: one.kind, subject: one.name } };
    }
  }
  return [
    counter(
      registry,
      'portico_packets_total',
      'Packets by outcome: each ends in exactly one. kind is vip, service, or none for packets to no VIP.',
      [...subjectLabels, 'outcome'],
      function* (counters) {
        for (const { one, labels } of subjects(counters)) yield* each(one.outcomes, 'outcome', labels);
      },
    ),
    counter(
      registry,
      'portico_events_total',
      'What happens beside the outcome: entries inserted, replaced, refused; packets sent with a key.',
      [...subjectLabels, 'event'],
      function* (counters) {
        for (const { one, labels } of subjects(counters)) yield* each(one.events, 'event', labels);
      },
    ),
    counter(
      registry,
      'portico_bytes_total',
      'Bytes of IP packets as they arrived.',
      subjectLabels,
      function* (counters) {
        for (const { one, labels } of subjects(counters)) yield [labels, one.bytes];
      },
    ),
    counter(
      registry,
      'portico_new_connections_total',
      'TCP connections begun, whatever became of them; probes too.',
      subjectLabels,
      function* (counters) {
        for (const { one, labels } of subjects(counters)) yield [labels, one.newConnections];
      },
    ),
    counter(
      registry,
      'portico_slow_path_total',
      'What the kernel program handed up: early fragments released, expired, refused; packets split, and into pieces; frames sent.',
      ['site', 'balancer', 'result'],
      function* ({ balancers }) {
        for (const { site, balancer, slowPath } of balancers) yield* each(slowPath, 'result', { site, balancer });
      },
    ),
    counter(
      registry,
      'portico_agent_packets_total',
      'Packets at the agent of a backend, by outcome.',
      ['site', 'backend', 'outcome'],
      function* ({ agents }) {
        for (const { site, backend, outcomes } of agents) yield* each(outcomes, 'outcome', { site, backend });
      },
    ),
  ];
}

const POLICIES_HELP = 'Steered answers by the policy of the service.';
const KERNEL_HELP =
  'Packets that the DNS program in the kernel saw, by what became of them; up: passed to the process.';

function dnsCounters(registry: Registry): ((counters: Counters) => void)[] {
  const one = (
    name: string,
    help: string,
    label: string,
    countsOf: (server: Counters['nameServers'][number]) => Readonly<Record<string, number>>,
  ) =>
    counter(registry, name, help, ['server', label], function* ({ nameServers }) {
      for (const server of nameServers) yield* each(countsOf(server), label, { server: server.server });
    });
  return [
    one('portico_dns_queries_total', 'DNS queries by transport.', 'transport', (server) => server.queries),
    one('portico_dns_responses_total', 'DNS responses by code.', 'code', (server) => server.responses),
    one('portico_dns_dropped_total', 'DNS queries that were not answered.', 'reason', (server) => server.dropped),
    one('portico_dns_questions_total', 'DNS queries by the type asked for.', 'type', (server) => server.types),
    one(
      'portico_dns_choices_total',
      'Why the site of a steered answer was chosen.',
      'reason',
      (server) => server.choices,
    ),
    one('portico_dns_policies_total', POLICIES_HELP, 'policy', (server) => server.policies),
    one('portico_dns_kernel_packets_total', KERNEL_HELP, 'outcome', (server) => server.kernel),
    one('portico_dns_tcp_connections_total', 'DNS connections over TCP.', 'event', (server) => server.tcp),
    one('portico_dns_features_total', 'DNS responses with a feature.', 'feature', ({ edns, ecs, truncated }) => ({
      edns,
      ecs,
      truncated,
    })),
    one('portico_dns_limits_total', 'What the rate limit of DNS did.', 'event', (server) => server.limits),
    one(
      'portico_dns_group_queries_total',
      'DNS queries by client group (network of the configuration, else country), estimated from samples.',
      'group',
      (server) => server.groups,
    ),
    one(
      'portico_dns_logged_total',
      'Messages and lines of query logs, written or dropped; ring: exchanges that found no room on their way there.',
      'what',
      (server) => server.logged,
    ),
    one(
      'portico_dns_cookies_total',
      'DNS queries with a cookie, by what it proved.',
      'cookie',
      (server) => server.cookies,
    ),
    counter(
      registry,
      'portico_dns_steered_answers_total',
      'Answers with addresses of a service, by the site that clients were sent to.',
      ['server', 'service', 'site'],
      function* ({ nameServers }) {
        for (const { server, sites } of nameServers) {
          for (const [service, bySite] of Object.entries(sites)) yield* each(bySite, 'site', { server, service });
        }
      },
    ),
  ];
}

/** Of signed messages, and of what secondaries get. */
function secondaryCounters(registry: Registry): ((counters: Counters) => void)[] {
  const kinds = [
    ['signatures', 'DNS queries with a signature (TSIG), by what it proved to be.'],
    ['transfers', 'Zone transfers to secondaries.'],
    ['notifies', 'Notices to secondaries of changes.'],
  ] as const;
  return kinds.map(([kind, help]) =>
    counter(registry, `portico_dns_${kind}_total`, help, ['server', 'what'], function* ({ nameServers }) {
      for (const server of nameServers) yield* each(server[kind], 'what', { server: server.server });
    }),
  );
}

function systemGauges(registry: Registry): ((status: Status) => void)[] {
  return [
    gauge(registry, 'portico_info', 'Always 1; the version and the configuration.', ['version', 'name'], (status) => [
      [{ version: status.version, name: status.name }, 1],
    ]),
    gauge(registry, 'portico_epoch', 'Version number of the state that is served.', [], ({ epoch }) => [[{}, epoch]]),
    gauge(registry, 'portico_uptime_seconds', 'Since the process started.', [], (status) => [
      [{}, status.uptimeSeconds],
    ]),
    gauge(registry, 'portico_problems', 'Problems that GET /status names.', [], (status) => [
      [{}, status.problems.length],
    ]),
    gauge(
      registry,
      'portico_name_server_answering',
      '1: the name server answers.',
      ['server'],
      function* ({ nameServers }) {
        for (const { name, state } of nameServers) yield [{ server: name }, Number(state === 'answering')];
      },
    ),
    gauge(
      registry,
      'portico_delegation_differences',
      'Differences between what the parent of a zone says and what is served; status names them.',
      ['zone'],
      function* ({ delegations }) {
        for (const { zone, differences } of delegations) yield [{ zone }, differences.length];
      },
    ),
    gauge(
      registry,
      'portico_delegation_looked_seconds',
      'Since the delegation of the zone was looked at.',
      ['zone'],
      function* ({ delegations }) {
        for (const { zone, lookedSecondsAgo } of delegations) yield [{ zone }, lookedSecondsAgo];
      },
    ),
    gauge(
      registry,
      'portico_anycast_announced',
      '1: the name server announces its anycast addresses.',
      ['server'],
      function* ({ nameServers }) {
        for (const { name, anycast } of nameServers)
          if (anycast !== null) yield [{ server: name }, Number(anycast.announced)];
      },
    ),
  ];
}

function signingGauges(registry: Registry): ((status: Status) => void)[] {
  const ofZones = (name: string, help: string, told: (zone: SigningStatus) => number | null) =>
    gauge(registry, name, help, ['server', 'zone'], function* ({ nameServers }) {
      for (const { name: server, signing } of nameServers) {
        for (const zone of signing) {
          const value = told(zone);
          if (value !== null) yield [{ server, zone: zone.zone }, value];
        }
      }
    });
  return [
    ofZones(
      'portico_dns_signature_end_seconds',
      'Unix time at which the first signature of a zone ends.',
      ({ earliestEndMs }) => (earliestEndMs === null ? null : earliestEndMs / 1000),
    ),
    ofZones('portico_dns_signed_sets', 'Record sets of a zone that are signed.', ({ sets }) => sets),
    ofZones('portico_dns_zone_keys', 'Keys in the DNSKEY set of a zone: 2 in a roll.', ({ keyTags }) => keyTags.length),
  ];
}

function siteGauges(registry: Registry): ((status: Status) => void)[] {
  return [
    gauge(registry, 'portico_site_up', '1: the site serves clients.', ['site'], ({ sites }) =>
      sites.map((site) => [{ site: site.name }, Number(site.up)]),
    ),
    gauge(registry, 'portico_site_drained', '1: the site is drained.', ['site'], ({ sites }) =>
      sites.map((site) => [{ site: site.name }, Number(site.drained)]),
    ),
    gauge(
      registry,
      'portico_balancer_forwarding',
      '1: the balancer forwards and announces.',
      ['site', 'balancer'],
      function* ({ sites }) {
        for (const { name: site, balancers } of sites) {
          for (const { name, state } of balancers) yield [{ site, balancer: name }, Number(state === 'forwarding')];
        }
      },
    ),
    gauge(
      registry,
      'portico_bgp_session_up',
      '1: the BGP session is established.',
      ['site', 'balancer', 'router'],
      function* ({ sites }) {
        for (const { name: site, balancers } of sites) {
          for (const { name: balancer, sessions } of balancers) {
            for (const { router, up } of sessions) yield [{ site, balancer, router }, Number(up)];
          }
        }
      },
    ),
  ];
}

function serviceGauges(registry: Registry): ((status: Status) => void)[] {
  const ofService = (name: string, help: string, measure: (service: SiteServiceStatus) => number | null) =>
    gauge(registry, name, help, ['site', 'service'], function* ({ sites }) {
      for (const { name: site, services } of sites) {
        for (const service of services) {
          const value = measure(service);
          if (value !== null) yield [{ site, service: service.name }, value];
        }
      }
    });
  const ofBackend = (
    name: string,
    help: string,
    measure: (backend: SiteServiceStatus['backends'][number]) => number | null,
  ) =>
    gauge(registry, name, help, ['site', 'service', 'backend'], function* ({ sites }) {
      for (const { name: site, services } of sites) {
        for (const { name: service, backends } of services) {
          for (const backend of backends) {
            const value = measure(backend);
            if (value !== null) yield [{ site, service, backend: backend.name }, value];
          }
        }
      }
    });
  const verdictNumber = { unknown: null, healthy: 1, unhealthy: 0 } as const;
  return [
    ofService(
      'portico_service_reached',
      '1: reached through its VIP; 0: not; absent: not known yet.',
      ({ reached }) => verdictNumber[reached],
    ),
    ofService('portico_service_panic', '1: so many backends look dead that all are used.', ({ panic }) =>
      Number(panic),
    ),
    ofService(
      'portico_service_under_pressure',
      '1: new flows are above a limit, and refused or not tracked.',
      ({ floods }) => Number(floods.underPressureSeconds !== null),
    ),
    ofService(
      'portico_service_busiest_prefix_new_per_second',
      'New connections a second of the client prefix (/24, /48) that opens most; status names it.',
      ({ floods }) => floods.top[0]?.newPerSecond ?? 0,
    ),
    ofService('portico_service_slots', 'Slots of the lookup table.', ({ slots }) => slots),
    ofService('portico_service_unsettled_slots', 'Slots whose flows are tracked.', (one) => one.unsettledSlots),
    ofService('portico_service_waiting_slots', 'Slots whose change waits for room.', (one) => one.waitingSlots),
    ofService('portico_service_held_slots', 'Slots that a change of weights waits for.', (one) => one.heldSlots),
    ofService(
      'portico_service_vips_announced',
      'VIPs that are announced.',
      ({ vips }) => vips.filter((vip) => vip.announced).length,
    ),
    ofBackend(
      'portico_backend_healthy',
      '1: healthy; 0: unhealthy; absent: not known yet.',
      ({ verdict }) => verdictNumber[verdict],
    ),
    ofBackend('portico_backend_drained', '1: gets no new flows.', ({ drained }) => Number(drained)),
    ofBackend('portico_backend_weight', 'Configured weight.', ({ weight }) => weight),
    ofBackend('portico_backend_effective_weight', 'Weight that counts now.', (one) => one.effectiveWeight),
    ofBackend('portico_backend_utilisation', 'Load as it reports, 1 is full.', (one) => one.utilisation),
    ofBackend('portico_backend_drain_slots', 'Slots that hold its drain open.', ({ drain }) => drain?.slots ?? null),
    ofBackend('portico_backend_slots', 'Slots that send new flows to it.', ({ slots }) => slots),
  ];
}

function steeringGauges(registry: Registry): ((status: SteeringStatus) => void)[] {
  const shares = (name: string, help: string, shareOf: (part: { share: number; predicted: number }) => number) =>
    gauge<SteeringStatus>(registry, name, help, ['service', 'place', 'part'], function* ({ services }) {
      for (const { service, weighted } of services) {
        for (const { place, parts, demand } of weighted) {
          if (demand > 0) for (const part of parts) yield [{ service, place, part: part.name }, shareOf(part)];
        }
      }
    });
  return [
    gauge<SteeringStatus>(registry, 'portico_steering_frozen', '1: the map of clients is frozen.', [], (status) => [
      [{}, Number(status.frozenSinceMs !== null)],
    ]),
    gauge<SteeringStatus>(registry, 'portico_steering_pins', "The operator's pins of clients.", [], ({ pins }) => [
      [{}, pins.length],
    ]),
    shares(
      'portico_steering_weight',
      'Share of the demand that a part of a weighted policy should get.',
      (one) => one.share,
    ),
    shares(
      'portico_steering_predicted',
      'Share of the known demand that a part of a weighted policy is predicted to get.',
      (one) => one.predicted,
    ),
  ];
}
