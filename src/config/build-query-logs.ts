/** Complete values of the section `dns.log` to `QueryLogs`. */
import type { JsonLog, QueryLogs, TapLog } from './model.ts';
import type { FileValues } from './schema.ts';

export type QueryLogValues = NonNullable<NonNullable<FileValues['dns']>['log']>;

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a checked configuration has a gap');
  return value;
}

export function buildQueryLogs({ dnstap, json }: QueryLogValues): QueryLogs {
  return {
    dnstap: dnstap === undefined ? null : buildTap(dnstap),
    json: json === undefined ? null : buildJson(json),
  };
}

function buildTap(values: NonNullable<QueryLogValues['dnstap']>): TapLog {
  return {
    socket: values.socket ?? null,
    folder: values.folder ?? null,
    every: given(values.every),
    messages: given(values.messages),
    maxBytes: given(values.size),
    keep: given(values.keep),
  };
}

function buildJson(values: NonNullable<QueryLogValues['json']>): JsonLog {
  const rcodes = values.rcodes ?? [];
  const clients = (values.clients ?? []).map(given);
  return {
    folder: given(values.folder),
    every: values.every ?? (rcodes.length + clients.length > 0 ? 0 : 1),
    rcodes: rcodes.map(given),
    clients,
    maxBytes: given(values.size),
    keep: given(values.keep),
  };
}
