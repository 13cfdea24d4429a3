/**
 * Who asks, and for what: the client prefixes and names that come most, and queries by client group. Of sampled exchanges, each with its weight;
 * in bounded memory.
 */
import type { Config } from '../../../config/model.ts';
import { RCODE } from '../wire/numbers.ts';
import { type ClientGroups, clientGroups } from './client-groups.ts';
import { absolute, clientOf, type QuestionReader, talkerText } from './question.ts';
import type { RecordedQuery } from './ring.ts';
import { type KeyCount, SpaceSaving } from './space-saving.ts';

/** Keys that are kept of each kind. */
const CAPACITY = 1_024;
/** Lists are of this long to twice as long. */
export const WINDOW_MS = 5 * 60_000;

export const TOP_KINDS = ['clients', 'names', 'nxdomainNames', 'nxdomainParents'] as const;
export type TopKind = (typeof TOP_KINDS)[number];

export interface TopEntry {
  readonly key: string;
  readonly perSecond: number;
  /** At most so much too high. */
  readonly errorPerSecond: number;
}

export interface DnsTop {
  /** Time that it is about. */
  readonly seconds: number;
  /** One query in so many was looked at, at the end of it. */
  readonly sampledEvery: number;
  readonly queriesPerSecond: number;
  /** Client prefixes, /24 and /56. */
  readonly clients: readonly TopEntry[];
  readonly names: readonly TopEntry[];
  /** Names that do not exist. */
  readonly nxdomainNames: readonly TopEntry[];
  /** The names directly above those: of random names this is what they have in common. */
  readonly nxdomainParents: readonly TopEntry[];
}

class Window {
  readonly startedMs: number;
  readonly lists = Object.fromEntries(TOP_KINDS.map((kind) => [kind, new SpaceSaving(CAPACITY)])) as Record<
    TopKind,
    SpaceSaving
  >;

  constructor(startedMs: number) {
    this.startedMs = startedMs;
  }
}

export class QueryStatistics {
  readonly #nowMs: () => number;
  #current: Window;
  #before: Window | null = null;
  #clients: ClientGroups;
  /** What `#clients` was made of. */
  #sources: Pick<Config, 'networks' | 'clients'>;
  /** Queries, in estimate. Groups that are gone stay: counters only grow. */
  readonly groups: Record<string, number> = {};
  sampledEvery = 1;

  /** `nowMs`: a steady clock. */
  constructor(config: Config, nowMs: () => number) {
    this.#clients = clientGroups(config);
    this.#sources = config;
    this.#nowMs = nowMs;
    this.#current = new Window(nowMs());
  }

  setConfig(config: Config): void {
    const { networks, clients } = this.#sources;
    if (config.networks === networks && config.clients === clients) return;
    this.#clients = clientGroups(config);
    this.#sources = config;
  }

  add(record: RecordedQuery, question: QuestionReader, hasQuestion: boolean): void {
    const { weight } = record;
    const { lists } = this.#current;
    lists.clients.add(talkerText(record), weight);
    const group = this.#group(record, question, hasQuestion);
    this.groups[group] = (this.groups[group] ?? 0) + weight;
    if (!hasQuestion) return;
    const name = question.name();
    const text = absolute(name);
    lists.names.add(text, weight);
    if (record.rcode !== RCODE.NXDOMAIN) return;
    lists.nxdomainNames.add(text, weight);
    lists.nxdomainParents.add(absolute(name.subarray(name[0] === 0 ? 0 : (name[0] as number) + 1)), weight);
  }

  /** Of the users: by client subnet, else by who asks. */
  #group(record: RecordedQuery, question: QuestionReader, hasQuestion: boolean): string {
    const subnet = hasQuestion ? question.subnet() : null;
    if (subnet !== null) return this.#clients.nameOf(subnet.address, subnet.length);
    const client = clientOf(record);
    return this.#clients.nameOf(client, client.bytes.length * 8);
  }

  /** About once a second. */
  rotate(): void {
    if (this.#nowMs() - this.#current.startedMs < WINDOW_MS) return;
    this.#before = this.#current;
    this.#current = new Window(this.#nowMs());
  }

  top(count: number): DnsTop {
    const windows = this.#before === null ? [this.#current] : [this.#before, this.#current];
    const seconds = Math.max(1, (this.#nowMs() - (windows[0] as Window).startedMs) / 1000);
    const listOf = (kind: TopKind): TopEntry[] =>
      mergeCounts(windows.map(({ lists }) => lists[kind].top(CAPACITY)))
        .slice(0, count)
        .map(({ key, count: its, error }) => ({ key, perSecond: its / seconds, errorPerSecond: error / seconds }));
    return {
      seconds,
      sampledEvery: this.sampledEvery,
      queriesPerSecond: windows.reduce((sum, { lists }) => sum + lists.clients.total, 0) / seconds,
      clients: listOf('clients'),
      names: listOf('names'),
      nxdomainNames: listOf('nxdomainNames'),
      nxdomainParents: listOf('nxdomainParents'),
    };
  }
}

/** Counts of one key add up, and so do their errors. Most first. */
export function mergeCounts(lists: readonly (readonly KeyCount[])[]): KeyCount[] {
  const sums = new Map<string, KeyCount>();
  for (const { key, count, error } of lists.flat()) {
    const other = sums.get(key);
    sums.set(key, { key, count: count + (other?.count ?? 0), error: error + (other?.error ?? 0) });
  }
  return [...sums.values()].sort((a, b) => b.count - a.count);
}
