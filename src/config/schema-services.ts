/** The shape of a service in the operator's file: how connections are spread, forwarded, tracked and probed. */
import { readDomainName } from './dns-names.ts';
import { DURATION_NOTE, type SchemaBuilder } from './fields.ts';
import { FORWARDING_MODES, SCHEDULERS, TRACKING_MODES, WITHOUT_BACKENDS } from './model.ts';
import {
  readAlpn,
  readBoolean,
  readChoice,
  readHttpPath,
  readName,
  readNamesOrAll,
  readPolicyShape,
  readScheduler,
  readServiceLabels,
  readServicePort,
  readText,
  readVip,
} from './readers.ts';
import { NOTHING_HEALTHY } from './steering-model.ts';
import { readDuration, readInteger, readRate, readSeconds, readShare } from './units.ts';

const SECOND = 1000;
const HOUR = 3_600_000;

/** Maglev table sizes: the kernel's slot index is 32 bits; more than 16 Mi slots (128 MiB) serve nobody. */
const MAX_SLOTS = 16_777_213;
/** Ages of connection entries have 12 bits of 4.29 s; entries expire after at most 3,000 of them (bpf/layout.h). */
const MAX_SETTLE_MS = 12_600 * SECOND;

function healthSchema(build: SchemaBuilder) {
  const text = (description: string, example: string) => ({ type: 'string', description, examples: [example] });
  const count = (description: string, fallback: number) =>
    build.optional({ type: 'integer', description, examples: [fallback] }, (raw) => readInteger(raw, 1, 100), fallback);
  return build.optionalObject('how backends are probed', {
    type: build.optional(
      { enum: ['tcp', 'http'], description: 'what a probe does', examples: ['http'] },
      (raw) => readChoice(raw, ['tcp', 'http'] as const),
      'tcp',
    ),
    port: build.optional(
      { type: 'integer', description: "default: the service's first TCP port", examples: [80] },
      (raw) => readInteger(raw, 1, 65_535),
    ),
    path: build.optional(text('path and query of the request', '/healthz'), readHttpPath, '/'),
    host: build.optional(text("Host header; default: the service's DNS name", 'www.example.net'), readText),
    status: build.optional(
      { type: 'integer', description: 'status of a healthy answer', examples: [200] },
      (raw) => readInteger(raw, 100, 599),
      200,
    ),
    body: build.optional(text('text that the first 64 KiB of the answer contain; default: any', 'ok'), readText),
    interval: build.optional(
      { ...DURATION_NOTE, description: 'time between probes of a backend', examples: ['2s'] },
      (raw) => readDuration(raw, 100, HOUR),
      '2s',
    ),
    timeout: build.optional(
      {
        ...DURATION_NOTE,
        description: 'time until an unanswered probe has failed; less than the interval',
        examples: ['1s'],
      },
      (raw) => readDuration(raw, 10, HOUR),
      '1s',
    ),
    rise: count('successes in a row that make a backend healthy', 2),
    fall: count('failures in a row that make a backend unhealthy', 3),
    through: build.optional(
      {
        enum: ['vip', 'direct', 'both'],
        description:
          'the way of probes: as packets of users through the VIP, straight to the backend, or both, of which both must succeed',
        examples: ['both'],
      },
      (raw) => readChoice(raw, ['vip', 'direct', 'both'] as const),
      'both',
    ),
  });
}

function trackingSchema(build: SchemaBuilder) {
  return build.optionalObject('how connections are kept while backends change', {
    settleAfter: build.optional(
      {
        ...DURATION_NOTE,
        description: 'silence after which a changed part of the lookup table is final',
        examples: ['1h'],
      },
      (raw) => readDuration(raw, SECOND, MAX_SETTLE_MS),
      '1h',
    ),
    adoption: build.optional(
      { ...DURATION_NOTE, description: 'UDP: how long after a change unknown flows count as old', examples: ['30s'] },
      (raw) => readDuration(raw, 0, HOUR),
      '30s',
    ),
    mode: build.optional(
      {
        enum: [...TRACKING_MODES],
        description:
          'which flows are remembered: those of changing slots, all, or none; default: just-enough with a scheduler by hash, else full',
        examples: ['just-enough'],
      },
      (raw) => readChoice(raw, TRACKING_MODES),
    ),
    newPerSecond: build.optional(
      {
        type: 'string',
        description: 'connections tracked a second on a balancer; above it, none are',
        examples: ['100k/s'],
      },
      readRate,
      '100k/s',
    ),
    perPrefix: build.optional(
      {
        type: 'string',
        description:
          'new connections a second that a balancer takes from one client prefix (/24, /48); above it they are dropped. Default: no limit',
        examples: ['1000/s'],
      },
      readRate,
    ),
    tableShare: build.optional(
      { type: 'string', description: 'share of the connection table that the service may use', examples: ['50%'] },
      (raw) => readShare(raw, true),
      '50%',
    ),
  });
}

/** How connections are spread over backends. */
function schedulingShape(build: SchemaBuilder) {
  return {
    scheduler: build.optional(
      { enum: [...SCHEDULERS], description: 'how connections are spread over backends', examples: ['maglev'] },
      readScheduler,
      'maglev',
    ),
    load: build
      .object('where backends tell their load, for the schedulers least-load and predictive', {
        port: build.optional(
          { type: 'integer', description: 'default: the port of the health check', examples: [9100] },
          (raw) => readInteger(raw, 1, 65_535),
        ),
        path: build.optional(
          { type: 'string', description: 'path and query of the request', examples: ['/load'] },
          readHttpPath,
          '/load',
        ),
        interval: build.optional(
          { ...DURATION_NOTE, description: 'time between requests to a backend', examples: ['1s'] },
          (raw) => readDuration(raw, 100, 60 * SECOND),
          '1s',
        ),
      })
      .optional(),
    slowStart: build.optional(
      {
        ...DURATION_NOTE,
        description: 'time in which a recovered or added backend reaches its weight; 0s: it has it at once',
        examples: ['30s'],
      },
      (raw) => readDuration(raw, 0, HOUR),
      '0s',
    ),
    withoutBackends: build.optional(
      {
        enum: [...WITHOUT_BACKENDS],
        description: 'when no backend is left: packets are dropped, or answered with ICMP unreachable',
        examples: ['unreachable'],
      },
      (raw) => readChoice(raw, WITHOUT_BACKENDS),
      'drop',
    ),
  };
}

/** How packets reach backends. */
function forwardingShape(build: SchemaBuilder) {
  return {
    forwarding: build.optional(
      { enum: [...FORWARDING_MODES], description: 'how packets reach backends', examples: ['gre'] },
      (raw) => readChoice(raw, FORWARDING_MODES),
      'gre',
    ),
    backendPort: build.optional(
      {
        type: 'integer',
        description: 'with nat: the port that backends listen on; default: the port of the VIP',
        examples: [8080],
      },
      (raw) => readInteger(raw, 1, 65_535),
    ),
    nat: build
      .object('options of the forwarding mode nat', {
        tuples: build.optional(
          {
            type: 'boolean',
            description:
              'keeps the addresses of every connection, so that two ports of VIPs may share one of a backend',
            examples: [true],
          },
          readBoolean,
          false,
        ),
      })
      .optional(),
    quic: build
      .object('QUIC connections stay with the backend that their connection ID names (QUIC-LB, plaintext)', {
        configId: build.optional(
          { type: 'integer', description: 'the configuration ID in the first three bits', examples: [0] },
          (raw) => readInteger(raw, 0, 6),
          0,
        ),
        serverIdBytes: build.optional(
          { type: 'integer', description: 'length of the server ID in bytes', examples: [2] },
          (raw) => readInteger(raw, 1, 8),
          2,
        ),
      })
      .optional(),
    kernelAnswers: build.optional(
      {
        type: 'boolean',
        description: 'the kernel answers queries for its name where it can; false: always the process',
        examples: [false],
      },
      readBoolean,
      true,
    ),
    tcpFastOpen: build.optional(
      {
        type: 'boolean',
        description: 'gives all backends with the agent one TCP Fast Open key, so that cookies are valid at each',
        examples: [true],
      },
      readBoolean,
      false,
    ),
  };
}

/** Records beside A and AAAA that DNS makes of a service. */
function recordsShape(build: SchemaBuilder) {
  const port = (description: string, example: number) => ({ type: 'integer', description, examples: [example] });
  const word = (description: string, example: number, fallback: number) =>
    build.optional(
      { type: 'integer', description, examples: [example] },
      (raw) => readInteger(raw, 0, 65_535),
      fallback,
    );
  const protocol = { type: 'string', description: 'protocol ID of TLS', examples: ['h3'] };
  return {
    https: build
      .object('the HTTPS record of dnsName, with the VIPs of the chosen site as hints', {
        alpn: build.list('protocols beside HTTP/1.1', build.field(protocol, readAlpn), '[h2, h3]').optional(),
        port: build.optional(port('port that clients are sent to; default: 443', 8443), (raw) =>
          readInteger(raw, 1, 65_535),
        ),
      })
      .optional(),
    srv: build
      .list(
        'SRV records below dnsName',
        build.object('an SRV record', {
          name: build.field(
            { type: 'string', description: 'protocol and transport', examples: ['_sip._tcp'] },
            readServiceLabels,
          ),
          port: build.field(port('port of the service', 5060), (raw) => readInteger(raw, 1, 65_535)),
          priority: word('lower ones are tried first', 10, 0),
          weight: word('share among those of one priority', 60, 0),
          target: build.optional(
            { type: 'string', description: 'host to go to; default: dnsName', examples: ['sip.example.net'] },
            readDomainName,
          ),
        }),
        '[{ name: _sip._tcp, port: 5060 }]',
      )
      .optional(),
  };
}

/** How DNS chooses among the sites, and for how long. */
function policyShape(build: SchemaBuilder) {
  return {
    ttl: build.optional(
      { ...DURATION_NOTE, description: 'how long resolvers may keep such an answer', examples: ['30s'] },
      (raw) => readSeconds(raw, 0, 86_400),
      '30s',
    ),
    policy: build.optional(
      {
        type: ['string', 'object'],
        description:
          'which sites DNS answers with: steered, all, a site, or one of { weighted, failover, geo, all, steered }',
        examples: ['steered', { weighted: { eu: 60, us: 40 } }],
      },
      readPolicyShape,
      'steered',
    ),
    nothingHealthy: build.optional(
      {
        enum: [...NOTHING_HEALTHY],
        description: 'what DNS answers when no site is up: as if all were, or what was answered last',
        examples: ['all'],
      },
      (raw) => readChoice(raw, NOTHING_HEALTHY),
      'all',
    ),
  };
}

function vipShape(build: SchemaBuilder) {
  const vip = build.field(
    {
      type: 'string',
      description: 'virtual IP address, or a prefix of which every address is one (at most /8 or /32 wide)',
      examples: ['192.0.2.10'],
    },
    readVip,
  );
  return {
    vips: build.names(
      'virtual IP addresses by site',
      build.list('addresses and prefixes at the site', vip, '[192.0.2.10]'),
      '{ eu: [192.0.2.10] }',
    ),
    secondarySites: build
      .list(
        'sites whose VIPs secondaries answer with, for they cannot steer; default: all',
        build.field({ type: 'string', description: 'a site', examples: ['eu'] }, readName),
        '[eu]',
      )
      .optional(),
  };
}

export function serviceSchema(build: SchemaBuilder) {
  return build.object('what users reach', {
    dnsName: build.optional(
      { type: 'string', description: 'name that DNS answers with VIPs; default: none', examples: ['www.example.net'] },
      readDomainName,
    ),
    ...policyShape(build),
    ...recordsShape(build),
    class: build.optional(
      { enum: ['latency', 'throughput', 'batch'], description: 'what the service wants', examples: ['latency'] },
      (raw) => readChoice(raw, ['latency', 'throughput', 'batch'] as const),
      'latency',
    ),
    ...vipShape(build),
    ports: build.list(
      'ports with their protocol',
      build.field(
        { type: 'string', description: 'PORT/tcp, PORT/udp, any/tcp or any/udp', examples: ['80/tcp'] },
        readServicePort,
      ),
      '[80/tcp]',
    ),
    backends: build.optional(
      {
        type: ['string', 'array'],
        description: 'all: those of the sites with VIPs; or a list of names',
        examples: ['all'],
      },
      readNamesOrAll,
      'all',
    ),
    ...schedulingShape(build),
    ...forwardingShape(build),
    slots: build.optional(
      {
        type: 'integer',
        description: 'size of the lookup table: a prime, at least 100 times the number of backends',
        examples: [65_537],
      },
      (raw) => readInteger(raw, 3, MAX_SLOTS),
      65_537,
    ),
    health: healthSchema(build),
    panic: build.optional(
      {
        type: 'string',
        description: 'when more than this share of backends looks dead, all are used',
        examples: ['50%'],
      },
      (raw) => readShare(raw, false),
      '50%',
    ),
    need: build.optional(
      { type: 'integer', description: 'healthy backends below which a site stops announcing the VIPs', examples: [2] },
      (raw) => readInteger(raw, 0, 4095),
      0,
    ),
    tracking: trackingSchema(build),
  });
}
