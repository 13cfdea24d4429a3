/** Gauges of Prometheus whose rows are read from a state each time: rows that are gone go. */
import { Gauge, type Registry } from 'prom-client';
import type { Status } from './source.ts';

export type Row = readonly [labels: Record<string, string>, value: number];

export function gauge<S = Status>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly string[],
  rowsOf: (status: S) => Iterable<Row>,
): (status: S) => void {
  const metric = new Gauge({ name, help, labelNames: [...labelNames], registers: [registry] });
  return (status) => {
    metric.reset();
    for (const [labels, value] of rowsOf(status)) metric.set(labels, value);
  };
}
