/** A scenario file: which world, for how long, what happens in it. All errors are told at once, as of a configuration. */
import { readDocument } from '../config/document.ts';
import { createSchemaBuilder, type SchemaBuilder } from '../config/fields.ts';
import { reportIssues } from '../config/issues.ts';
import { type ConfigProblem, createFindings, type Findings } from '../config/problem.ts';
import { readChoice } from '../config/readers.ts';
import { type Reading, readDuration, readInteger, readNumber, readShare, wrong } from '../config/units.ts';
import { REGIONS } from './geography.ts';
import { PRESET_NAMES, type PresetName } from './presets.ts';

/** Each has a begin and, unless it is `ttl` or `path-shift`, an end. */
export type ScenarioEvent = {
  readonly atMs: number /** Infinity: to the end of the run. */;
  readonly untilMs: number;
} & (
  | { readonly kind: 'site-down' | 'drain'; readonly site: number }
  | { readonly kind: 'site-capacity'; readonly site: number; readonly share: number }
  | { readonly kind: 'link-down'; readonly link: number }
  | { readonly kind: 'link-capacity'; readonly link: number; readonly share: number }
  | { readonly kind: 'flash-crowd'; readonly service: number; readonly region: number; readonly more: number }
  | { readonly kind: 'ttl'; readonly service: number; readonly ttlSeconds: number }
  | { readonly kind: 'path-shift'; readonly site: number; readonly addMs: number }
);

export type ScenarioEventKind = ScenarioEvent['kind'];

export interface Scenario {
  readonly name: string;
  readonly preset: PresetName;
  readonly prefixes: number;
  readonly resolvers: number;
  readonly sites: number;
  readonly hours: number;
  readonly seed: number;
  /** Observations are made so often. */
  readonly stepSeconds: number;
  /** A multiple of it. */
  readonly decideSeconds: number;
  /** What is possible is worked out so often, a multiple of `stepSeconds`. */
  readonly compareSeconds: number;
  /** In order of their begin. */
  readonly events: readonly ScenarioEvent[];
}

export type ScenarioResult =
  | { readonly ok: true; readonly scenario: Scenario }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const MAX_MS = 7 * 86_400_000;
/** Keys of each kind beside `at` and `for`; all of them have to be there, except those with `?`. */
const KEYS: Readonly<Record<ScenarioEventKind, readonly string[]>> = {
  'site-down': ['site'],
  drain: ['site'],
  'site-capacity': ['site', 'share'],
  'link-down': ['link'],
  'link-capacity': ['link', 'share'],
  'flash-crowd': ['more', 'region?', 'service?'],
  ttl: ['ttl', 'service?'],
  'path-shift': ['add', 'site?'],
};

type Field<T> = (raw: unknown) => Reading<T>;

/** `50%` or `250%`: above 0, at most 10,000 %. */
const readMore: Field<number> = (raw) => {
  const match = typeof raw === 'string' ? /^([0-9]+(?:\.[0-9]+)?)\s*%$/.exec(raw.trim()) : null;
  const more = match === null ? 0 : Number(match[1]) / 100;
  if (more > 0 && more <= 100) return { ok: true, value: more };
  return wrong('this is not an increase', 'write how much more comes, above 0% and at most 10000%, like 30%');
};

const readTitle: Field<string> = (raw) => {
  if (typeof raw === 'string' && raw.trim() !== '' && raw.length <= 100) return { ok: true, value: raw.trim() };
  return wrong('this is not a title', 'write a text of 1 to 100 characters');
};

function whole(description: string, min: number, max: number, example: number) {
  return [{ type: 'integer', description, examples: [example] }, (raw: unknown) => readInteger(raw, min, max)] as const;
}

function time(description: string, minMs: number, example: string) {
  return [
    { type: 'string', description, examples: [example] },
    (raw: unknown) => readDuration(raw, minMs, MAX_MS),
  ] as const;
}

function eventSchema(build: SchemaBuilder) {
  const kinds = Object.keys(KEYS) as ScenarioEventKind[];
  return build.object('what happens', {
    at: build.field(...time('since the begin', 0, '6h')),
    for: build.optional(...time('until it is over; default: to the end', 1000, '1h')),
    kind: build.field({ enum: kinds, description: 'what', examples: ['site-down'] }, (raw) => readChoice(raw, kinds)),
    site: build.optional(...whole('number of a site, the largest is 0', 0, 99, 0)),
    link: build.optional(...whole('number of a link', 0, 999, 0)),
    share: build.optional({ description: 'of its capacity', examples: ['60%'] }, (raw) => readShare(raw, true)),
    more: build.optional({ description: 'how much more comes', examples: ['30%'] }, readMore),
    region: build.optional(
      { enum: REGIONS, description: 'where users are; default: everywhere', examples: ['europe'] },
      (raw) => readChoice(raw, REGIONS),
    ),
    service: build.optional(...whole('number of a service; default: all', 0, 15, 0)),
    ttl: build.optional(...time('new TTL of answers', 1000, '30s')),
    add: build.optional({ description: 'milliseconds that ways get longer', examples: [80] }, (raw) =>
      readNumber(raw, -1000, 1000),
    ),
  });
}

function scenarioSchema(mode: 'strict' | 'loose') {
  const build = createSchemaBuilder(mode);
  return build.object('a scenario', {
    name: build.field({ description: 'a title', examples: ['A typical day'] }, readTitle),
    preset: build.field({ enum: PRESET_NAMES, description: 'kind of world', examples: ['typical'] }, (raw) =>
      readChoice(raw, PRESET_NAMES),
    ),
    prefixes: build.field(...whole('client prefixes', 10, 1_000_000, 200_000)),
    resolvers: build.field(...whole('resolvers', 1, 100_000, 20_000)),
    sites: build.field(...whole('sites', 1, 100, 30)),
    hours: build.field({ description: 'length of the run', examples: [24] }, (raw) => readNumber(raw, 0, 168, true)),
    seed: build.optional(...whole('of all that is drawn', 0, 2 ** 32 - 1, 1), 1),
    step: build.optional(...time('observations are made so often; default: 1m', 1000, '1m'), '1m'),
    decide: build.optional(...time('maps are made so often; default: 5m', 1000, '5m'), '5m'),
    compare: build.optional(...time('what is possible is worked out so often; default: 1h', 1000, '1h'), '1h'),
    events: build
      .list('what happens', eventSchema(build), '[{ at: 6h, for: 1h, kind: site-down, site: 0 }]')
      .optional(),
  });
}

const STRICT = scenarioSchema('strict');
const LOOSE = scenarioSchema('loose');

type Values = NonNullable<ReturnType<(typeof LOOSE)['parse']>>;
type EventValues = NonNullable<NonNullable<Values['events']>[number]>;

/** Never throws, whatever the text. */
export function parseScenario(text: string): ScenarioResult {
  const document = readDocument(text);
  const findings = createFindings(document.value);
  let values: Values | undefined;
  if (document.isReadable && (document.value === null || document.value === undefined)) {
    findings.error([], 'the file is empty', 'begin with name and preset, as examples/simulations/typical.yaml does');
  } else if (document.isReadable) {
    const strict = STRICT.safeParse(document.value);
    if (!strict.success) reportIssues(strict.error.issues, document.value, findings);
    values = LOOSE.safeParse(document.value).data;
    if (values !== undefined) checkValues(values, findings);
  }
  const problems = [...document.problems, ...findings.errors.map((finding) => document.place(finding))];
  if (problems.length > 0 || values === undefined)
    return { ok: false, problems: problems.sort((a, b) => a.line - b.line || a.column - b.column) };
  return { ok: true, scenario: buildScenario(values) };
}

function checkValues(values: Values, findings: Findings): void {
  const { step, sites } = values;
  for (const key of ['decide', 'compare'] as const) {
    const value = values[key];
    if (value === undefined || step === undefined || value % step === 0) continue;
    findings.error([key], `this is no multiple of step`, `write a multiple of ${step / 1000}s`);
  }
  if (step !== undefined && step % 1000 !== 0)
    findings.error(['step'], 'this is no whole number of seconds', 'write it in s');
  for (const [index, event] of (values.events ?? []).entries()) {
    if (event === undefined) continue;
    checkKeys(event, index, findings);
    if (event.site !== undefined && sites !== undefined && event.site >= sites)
      findings.error(['events', index, 'site'], 'there is no such site', `write a number from 0 to ${sites - 1}`);
    if (event.at !== undefined && values.hours !== undefined && event.at >= values.hours * 3_600_000)
      findings.error(['events', index, 'at'], 'the run is over by then', `write less than ${values.hours}h`);
  }
}

function checkKeys(event: EventValues, index: number, findings: Findings): void {
  if (event.kind === undefined) return;
  const keys = KEYS[event.kind];
  const known = keys.map((key) => key.replace('?', ''));
  for (const key of keys) {
    if (key.endsWith('?') || findings.isWritten(['events', index, key])) continue;
    findings.error(['events', index], `"${key}" is missing: ${event.kind} needs it`, `add ${key}`, 'key');
  }
  for (const key of ['site', 'link', 'share', 'more', 'region', 'service', 'ttl', 'add']) {
    if (known.includes(key) || !findings.isWritten(['events', index, key])) continue;
    findings.error(
      ['events', index, key],
      `${event.kind} has no ${key}`,
      `take it away; it has ${known.join(', ')}`,
      'key',
    );
  }
}

/** All values are there: there was no error. */
function buildScenario(values: Values): Scenario {
  const { name = '', preset = 'typical', prefixes = 0, resolvers = 0, sites = 0, hours = 0, seed = 1 } = values;
  const events = (values.events ?? []).filter((event) => event !== undefined).map(buildEvent);
  return {
    name,
    preset,
    prefixes,
    resolvers,
    sites,
    hours,
    seed,
    stepSeconds: (values.step ?? 0) / 1000,
    decideSeconds: (values.decide ?? 0) / 1000,
    compareSeconds: (values.compare ?? 0) / 1000,
    events: events.sort((a, b) => a.atMs - b.atMs),
  };
}

function buildEvent(event: EventValues): ScenarioEvent {
  const { at: atMs = 0, kind, site = -1, link = -1, share = 1, region, service = -1, more = 0, add: addMs = 0 } = event;
  const when = { atMs, untilMs: event.for === undefined ? Number.POSITIVE_INFINITY : atMs + event.for };
  switch (kind) {
    case 'site-down':
    case 'drain':
      return { ...when, kind, site };
    case 'site-capacity':
      return { ...when, kind, site, share };
    case 'link-down':
      return { ...when, kind, link };
    case 'link-capacity':
      return { ...when, kind, link, share };
    case 'flash-crowd':
      return { ...when, kind, region: region === undefined ? -1 : REGIONS.indexOf(region), service, more };
    case 'path-shift':
      return { ...when, kind, site, addMs };
    default:
      return { ...when, kind: 'ttl', service, ttlSeconds: (event.ttl ?? 0) / 1000 };
  }
}
