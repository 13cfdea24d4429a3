/** Keys of `dns.steering.measured` and of links: what measured steering may do, and what it has to fill. */
import type { SchemaBuilder } from './fields.ts';
import type { LinkInterface } from './model.ts';
import { NAME_REMEDY, readChoice, readInterface, readName } from './readers.ts';
import { MEASURED_MODES } from './steering-model.ts';
import { type Reading, readBandwidth, readDuration, readInteger, readShare, wrong } from './units.ts';

const SECOND_MS = 1000;
/** Moves of less are lost in what is measured. */
const MAX_EXPLORED = 0.01;
export const MAX_GROUPS = 1_000_000;

export interface LinkValues {
  readonly capacityBitsPerSecond: number;
  /** Names of networks; null: all clients. */
  readonly clients: readonly string[] | null;
  readonly shared: string | null;
  readonly interfaces: readonly LinkInterface[];
}

/** A bandwidth, or a map with more. */
export function readLink(raw: unknown): Reading<LinkValues> {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    const reading = readBandwidth(raw);
    if (!reading.ok) return reading;
    return { ok: true, value: { capacityBitsPerSecond: reading.value, clients: null, shared: null, interfaces: [] } };
  }
  const example = '{ capacity: 10Gbit/s, clients: [new-york], shared: atlantic }';
  const fields = raw as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(fields).find((key) => !['capacity', 'clients', 'shared', 'interface'].includes(key));
  if (unknown !== undefined) return wrong(`the key "${unknown}" is unknown`, `write a link like ${example}`);
  if (fields.capacity === undefined) return wrong('"capacity" is missing', `write a link like ${example}`);
  const capacity = readBandwidth(fields.capacity);
  if (!capacity.ok) return wrong(`"capacity": ${capacity.message}`, capacity.remedy);
  const clients = readNames(fields.clients);
  if (!clients.ok) return clients;
  const shared = fields.shared === undefined ? null : readName(fields.shared);
  if (shared !== null && !shared.ok) return wrong(`"shared": ${shared.message}`, shared.remedy);
  const interfaces = readInterfaces(fields.interface);
  if (!interfaces.ok) return interfaces;
  return {
    ok: true,
    value: {
      capacityBitsPerSecond: capacity.value,
      clients: clients.value,
      shared: shared?.value ?? null,
      interfaces: interfaces.value,
    },
  };
}

/** One or several, each after its machine and a slash. */
function readInterfaces(raw: unknown): Reading<readonly LinkInterface[]> {
  if (raw === undefined) return { ok: true, value: [] };
  const found: LinkInterface[] = [];
  for (const text of Array.isArray(raw) ? raw : [raw]) {
    const [machine, name, more] = typeof text === 'string' ? text.split('/') : [];
    if (more !== undefined || !readName(machine).ok || !readInterface(name).ok)
      return wrong('"interface" is no interface of a machine', 'write eu-b1/eth0, or a list of such');
    found.push({ machine: machine as string, name: name as string });
  }
  if (found.length === 0) return wrong('"interface" is an empty list', 'write eu-b1/eth0, or leave it out');
  return { ok: true, value: found };
}

function readNames(raw: unknown): Reading<readonly string[] | null> {
  if (raw === undefined) return { ok: true, value: null };
  if (!Array.isArray(raw) || raw.length === 0)
    return wrong('"clients" is not a list of networks', 'write [new-york], names of dns.networks; or leave it out');
  const bad = raw.find((name) => !readName(name).ok);
  if (bad !== undefined) return wrong('"clients" has something that is no name', NAME_REMEDY);
  return { ok: true, value: [...new Set(raw as string[])] };
}

/** At most what exploring may ever take. */
function readExplored(raw: unknown): Reading<number> {
  const reading = readShare(raw, false);
  if (!reading.ok || reading.value <= MAX_EXPLORED) return reading;
  return wrong('the share is out of range', 'write a share from 0% to 1%');
}

/** A share of which something has to be left. */
function readPart(raw: unknown): Reading<number> {
  const reading = readShare(raw, false);
  if (!reading.ok || reading.value <= 0.9) return reading;
  return wrong('the share is out of range', 'write a share from 0% to 90%');
}

export function measuredShape(build: SchemaBuilder) {
  const share = (description: string, example: string, read: (raw: unknown) => Reading<number>) =>
    build.optional({ type: 'string', description, examples: [example] }, read, example);
  const bandwidth = { type: 'string', description: 'bandwidth of the link', examples: ['40Gbit/s'] };
  return {
    measured: build.optional(
      {
        enum: MEASURED_MODES,
        description:
          'off: sites by distance; observe: measures, and tells what it would do; on: DNS answers by what is measured',
        examples: ['observe'],
      },
      (raw) => readMode(raw),
      'off',
    ),
    interval: build.optional(
      { type: 'string', description: 'from one decision to the next', examples: ['30s'] },
      (raw) => readDuration(raw, SECOND_MS, 3600 * SECOND_MS),
      '30s',
    ),
    step: share('most of the demand of a class that one decision may move', '10%', (raw) => readShare(raw, true)),
    deadBand: share('a smaller gain, as a share of what it costs now, is not worth a move', '5%', readPart),
    hold: build.optional(
      {
        type: 'string',
        description: 'who was moved stays for so long, unless something is down or full',
        examples: ['2m'],
      },
      (raw) => readDuration(raw, 0, 24 * 3600 * SECOND_MS),
      '2m',
    ),
    reserve: share('share of each capacity that is kept free', '10%', readPart),
    explore: share('most of the demand that may be sent elsewhere to measure there', '1%', readExplored),
    slack: share('how much each aim may give up for the next', '1%', readPart),
    groups: build.optional(
      { type: 'integer', description: 'most resolvers and client subnets in the map', examples: [100_000] },
      (raw) => readInteger(raw, 1, MAX_GROUPS),
      100_000,
    ),
    sharedLinks: build.names(
      'links that several sites share, and their bandwidth',
      build.field(bandwidth, readBandwidth),
      null,
    ),
  };
}

/** YAML 1.1 reads on and off as truth values. */
function readMode(raw: unknown): Reading<(typeof MEASURED_MODES)[number]> {
  if (raw === false) return { ok: true, value: 'off' };
  return raw === true ? { ok: true, value: 'on' } : readChoice(raw, MEASURED_MODES);
}
