import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseScenario } from './scenario.ts';

const GOOD = `
name: A day
preset: typical
prefixes: 2000
resolvers: 300
sites: 8
hours: 3
events:
  - { at: 2h, for: 30m, kind: flash-crowd, more: 30% }
  - { at: 1h, for: 20m, kind: site-down, site: 3 }
`;

function problemsOf(text: string): string[] {
  const result = parseScenario(text);
  assert(!result.ok);
  return result.problems.map(({ path, line, message, remedy }) => `${line} ${path}: ${message}; ${remedy}`);
}

test('a scenario has its defaults, and its events in order', () => {
  const result = parseScenario(GOOD);
  assert(result.ok, JSON.stringify(result));
  const { scenario } = result;
  assert.deepEqual(
    [scenario.seed, scenario.stepSeconds, scenario.decideSeconds, scenario.compareSeconds],
    [1, 60, 300, 3600],
  );
  assert.deepEqual(scenario.events, [
    { atMs: 3_600_000, untilMs: 4_800_000, kind: 'site-down', site: 3 },
    { atMs: 7_200_000, untilMs: 9_000_000, kind: 'flash-crowd', region: -1, service: -1, more: 0.3 },
  ]);
});

test('all that is wrong is told at once, each with its line and what would be right', () => {
  const text = `name: A day
preset: typicall
prefixes: 5
sites: 8
hours: 3
decide: 90s
events:
  - { at: 4h, kind: site-down, site: 8 }
  - { at: 1h, kind: flash-crowd, share: 50% }
  - { at: 1h, kind: drain, site: 1, colour: red }
`;
  assert.deepEqual(problemsOf(text), [
    '1 resolvers: "resolvers" is missing; add resolvers: 20000',
    '2 preset: this is none of the choices; did you mean typical? write one of friendly, typical, hostile',
    '3 prefixes: the number is out of range; write a whole number from 10 to 1000000',
    '6 decide: this is no multiple of step; write a multiple of 60s',
    '8 events[0].at: the run is over by then; write less than 3h',
    '8 events[0].site: there is no such site; write a number from 0 to 7',
    '9 events[1]: "more" is missing: flash-crowd needs it; add more',
    '9 events[1].share: flash-crowd has no share; take it away; it has more, region, service',
    '10 events[2].colour: "colour" is not known here; known here: at, for, kind, site, link, share, more, region, service, ttl, add',
  ]);
});

test('what is no scenario at all is told, and nothing throws', () => {
  assert.match(problemsOf('')[0], /the file is empty/);
  assert.match(problemsOf('[1, 2]')[0], /this is not a map/);
  assert.match(problemsOf('name: [')[0], /YAML/);
});
