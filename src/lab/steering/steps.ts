/** What happens in the scenarios of measured steering, and what has to come of it. */
import type { Config } from '../../config/model.ts';
import type { Runtime } from '../../fleet/runtime.ts';
import type { SteeringStep } from './scenario.ts';

export const STEERING_SCENARIOS = ['classes', 'closed-loop'] as const;
export type SteeringScenario = (typeof STEERING_SCENARIOS)[number];

/** The design's bound is ten minutes; here names live for 3 s, and it is decided every 2 s. */
const LIMIT_MS = 120_000;
const FIRST_MS = 30_000;

export interface SteeringWorld {
  readonly runtime: Pick<Runtime, 'apply'>;
  readonly config: Config;
  /** Lines of `portico explain dns` for a client address. */
  explain(name: string, client: string): Promise<readonly string[]>;
  /** Those of `portico steer map`. */
  mapText(): readonly string[];
}

/** As the file says, but for what is done with measurements. */
export function withMode(config: Config, mode: Config['steering']['measured']['mode']): Config {
  const { steering } = config;
  return { ...config, steering: { ...steering, measured: { ...steering.measured, mode } } };
}

const AMSTERDAM = '203.0.113.5';
const DAKAR = '198.18.113.5';
/** The lab's client machines stand at the sites that their packets are near to: those of Dakar at Sao Paulo. */
const REGION = { amsterdam: 'client-eu', dakar: 'client-br' } as const;
export const REGIONS: readonly string[] = Object.values(REGION);

export function steeringSteps(scenario: SteeringScenario, world: SteeringWorld): SteeringStep[] {
  return scenario === 'classes' ? classSteps(world) : loopSteps(world);
}

function everywhere(site: string, region: string) {
  return { search: { [region]: site }, upload: { [region]: site }, batch: { [region]: site } };
}

function classSteps({ runtime, config, explain, mapText }: SteeringWorld): SteeringStep[] {
  const { amsterdam } = REGION;
  return [
    {
      step: 'nothing is measured',
      expected: 'users in Amsterdam get the nearest site for everything',
      goes: everywhere('eu', amsterdam),
      limitMs: FIRST_MS,
      act: async () => {},
    },
    {
      step: 'DNS answers by what is measured',
      expected:
        'the same users: search at the nearest site, upload over the link with most room, batch in the region where it is cheapest',
      goes: { search: { [amsterdam]: 'eu' }, upload: { [amsterdam]: 'us' }, batch: { [amsterdam]: 'br' } },
      limitMs: LIMIT_MS,
      act: () => runtime.apply(withMode(config, 'on'), true),
      async explain() {
        const names = ['search', 'upload', 'batch'].map((name) => explain(`${name}.example.test`, AMSTERDAM));
        return [...(await Promise.all(names)).flat(), ...mapText()];
      },
      check: (explained) => missing(explained, ['class latency', 'class throughput', 'class batch']),
    },
  ];
}

function loopSteps({ runtime, config, explain, mapText }: SteeringWorld): SteeringStep[] {
  const { amsterdam, dakar } = REGION;
  return [
    {
      step: 'nothing is measured',
      expected: 'users in Dakar get Amsterdam, which is nearest on the map',
      goes: { search: { [dakar]: 'eu', [amsterdam]: 'eu' } },
      limitMs: FIRST_MS,
      act: async () => {},
      explain: () => explain('search.example.test', DAKAR),
    },
    {
      step: 'DNS answers by what is measured',
      expected: 'users in Dakar get Sao Paulo, where their packets are first; nobody told it but their traffic',
      goes: { search: { [dakar]: 'br', [amsterdam]: 'eu' } },
      limitMs: LIMIT_MS,
      act: () => runtime.apply(withMode(config, 'on'), true),
      explain: async () => [...(await explain('search.example.test', DAKAR)), ...mapText()],
      check: (explained) => missing(explained, ['measured of 198.18.113.0/24', 'br: gets it', 'by measured']),
    },
  ];
}

function missing(explained: readonly string[], texts: readonly string[]): string[] {
  return texts
    .filter((text) => !explained.some((line) => line.includes(text)))
    .map((text) => `explain dns does not say "${text}"`);
}
