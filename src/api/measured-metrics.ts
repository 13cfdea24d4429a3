/** Metrics of measured steering. Labels are sites, links and stages: as many as the file names. */
import type { Registry } from 'prom-client';
import type { MeasuredStatus } from '../fleet/measured-steering.ts';
import type { MeasuredSummary } from '../fleet/measured-words.ts';
import { gauge, type Row } from './gauge.ts';
import type { SteeringStatus } from './steering.ts';

export function measuredGauges(registry: Registry): ((status: SteeringStatus) => void)[] {
  const of = (
    name: string,
    help: string,
    labels: readonly string[],
    rows: (measured: MeasuredStatus) => Iterable<Row>,
  ): ((status: SteeringStatus) => void) =>
    gauge<SteeringStatus>(registry, `portico_measured_${name}`, help, labels, ({ measured }) =>
      measured === null ? [] : rows(measured),
    );
  const single = (name: string, help: string, read: (measured: MeasuredStatus) => number | null) =>
    of(name, help, [], (measured) => {
      const value = read(measured);
      return value === null ? [] : [[{}, value]];
    });
  const last = (name: string, help: string, read: (summary: MeasuredSummary) => number) =>
    single(name, help, (measured) => (measured.last === null ? null : read(measured.last)));
  const finite = (value: number): value is number => Number.isFinite(value);
  return [
    single('on', '1: DNS answers by what is measured; 0: it is observed only.', ({ mode }) => Number(mode === 'on')),
    single('running', '1: the thread of measured steering runs.', ({ thread }) => Number(thread.failure === null)),
    single('thread_restarts', 'How often the thread was started again.', ({ thread }) => thread.restarts),
    single('dropped_rows', 'Rows that the thread was too busy to read.', ({ thread }) => thread.droppedRows),
    single('map_version', 'Version of the map that DNS answers by.', ({ servedVersion }) => servedVersion),
    single('decision_age_seconds', 'Since the last decision.', ({ ageMs }) => (ageMs === null ? null : ageMs / 1000)),
    single('held', '1: the newest map is not served.', ({ held }) => Number(held !== null)),
    last('decision_seconds', 'What the last decision took.', ({ tookMs }) => tookMs / 1000),
    last('groups', 'Resolvers and client subnets in the map.', ({ groups }) => groups),
    last('prefixes', 'Client prefixes that are known.', ({ prefixes }) => prefixes),
    last('refused_prefixes', 'Prefixes for which there was no room.', ({ refusedPrefixes }) => refusedPrefixes),
    last('mean_rtt_seconds', 'Mean round trip of users by estimates.', ({ meanRttMs }) => meanRttMs / 1000),
    last('moved_share', 'Share of the demand that the last decision moved.', ({ movedShare }) => movedShare),
    last('explored_share', 'Share of the demand that explores.', ({ exploredShare }) => exploredShare),
    of('stage_gap', 'How far a stage may be from the best, as proven.', ['stage'], function* ({ last: summary }) {
      for (const { stage, gap } of summary?.stages ?? []) if (finite(gap)) yield [{ stage }, gap];
    }),
    of('site_load', 'New connections a second by the map.', ['site'], function* ({ last: summary }) {
      for (const { site, load } of summary?.sites ?? []) yield [{ site }, load];
    }),
    of('link_load', 'Bits a second by the map.', ['link'], function* ({ last: summary }) {
      for (const { link, load } of summary?.links ?? []) yield [{ link }, load];
    }),
  ];
}
