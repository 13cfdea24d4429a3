/**
 * The query log of a name server: rings that answering threads write to, read here by turns on the main thread, and what becomes of it:
 * dnstap frames, lines of JSON, statistics. Nothing here holds up an answer: a turn is short, and what finds no room is dropped and counted.
 */
import { join } from 'node:path';
import type { Config, JsonLog, TapLog } from '../../../config/model.ts';
import { parseAddress } from '../../../net/address.ts';
import { type HashedName, hashName } from '../name-table.ts';
import type { BoundAddress } from '../sockets.ts';
import { type CompiledZones, findClosest } from '../zones.ts';
import { type TapIdentity, type TapMessage, tapFrameLimit, writeTapFrame } from './dnstap.ts';
import { FrameSocket } from './frame-socket.ts';
import { CONTROL, controlFrame, DNSTAP_CONTENT } from './frame-stream.ts';
import { jsonLine } from './json-line.ts';
import { clientOf, QuestionReader } from './question.ts';
import {
  createRing,
  QueryRecorder,
  type RecordedQuery,
  type RecordingSettings,
  RingReader,
  setRecording,
  WANTED,
} from './ring.ts';
import { RotatedFile } from './rotated-file.ts';
import type { LogSink, SinkLog, SinkStatus } from './sink.ts';
import { type DnsTop, QueryStatistics } from './statistics.ts';

export interface QueryLogOptions {
  readonly config: Config;
  /** Machine name: in the log, and in the names of its files. */
  readonly server: string;
  readonly zones: () => CompiledZones;
  readonly log: SinkLog;
}

export interface QueryLogStatus {
  readonly dnstap: SinkStatus | null;
  readonly json: SinkStatus | null;
  /** Exchanges that found no room on their way here: of logs, and of statistics only. */
  readonly dropped: { readonly log: number; readonly statistics: number };
  /** One query in so many is looked at for statistics. */
  readonly statisticsEvery: number;
}

/** Rings are looked at so often while something is logged, and for statistics only. */
const DRAIN_MS = 20;
const IDLE_DRAIN_MS = 200;
/** A turn takes no more of all rings: about a millisecond. Then others have theirs. */
const TURN_BYTES = 128 * 1024;
const SECOND_MS = 1_000;
/** Samples for statistics, at most about. */
const SAMPLES_PER_SECOND = 2_000;
const CHUNK_BYTES = 256 * 1024;

interface Producer {
  readonly ring: SharedArrayBuffer;
  readonly reader: RingReader;
}

export class QueryLog {
  /** Where the server answers, by the number that recorders are told. */
  readonly listeners: BoundAddress[] = [];
  readonly #options: QueryLogOptions;
  /** Of `listeners`, as wire bytes. */
  readonly #addresses = new Map<string, Uint8Array | null>();
  readonly #producers: Producer[] = [];
  readonly #question = new QuestionReader();
  readonly #statistics: QueryStatistics;
  readonly #identity: TapIdentity;
  #config: Config['queryLog'];
  #dnstap: LogSink | null = null;
  #json: LogSink | null = null;
  #frames: Buffer = Buffer.alloc(0);
  #framesBytes = 0;
  #framesCount = 0;
  #lines: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Immediate | undefined;
  #second: NodeJS.Timeout | undefined;
  #weightThisSecond = 0;
  #droppedBefore = 0;
  #closing: Promise<void>[] = [];
  /** Sinks that were replaced: their counts stay. */
  #gone = { dnstap: { written: 0, dropped: 0 }, json: { written: 0, dropped: 0 } };

  constructor(options: QueryLogOptions) {
    this.#options = options;
    this.#config = options.config.queryLog;
    const { version } = options.config.dnsProtocol.tell;
    this.#identity = { identity: Buffer.from(options.server), version: Buffer.from(version ?? '') };
    this.#statistics = new QueryStatistics(options.config, () => performance.now());
  }

  /** A ring for one more thread that answers, which makes a `QueryRecorder` of it. */
  addRing(): SharedArrayBuffer {
    const ring = createRing();
    setRecording(ring, this.#settings());
    this.#producers.push({ ring, reader: new RingReader(ring) });
    return ring;
  }

  /** For the thread that calls. */
  addRecorder(): QueryRecorder {
    return new QueryRecorder(this.addRing());
  }

  start(): void {
    if (this.#second !== undefined) return;
    this.#openSinks();
    this.#second = setInterval(() => this.#eachSecond(), SECOND_MS);
    this.#second.unref();
    this.#schedule();
  }

  #schedule(): void {
    const isLogging = this.#dnstap !== null || this.#json !== null;
    this.#timer = setTimeout(() => this.#drain(), isLogging ? DRAIN_MS : IDLE_DRAIN_MS);
    this.#timer.unref();
  }

  /** Reads what is there, a turn at a time; other work of this thread comes in between. */
  #drain(): void {
    const hasMore = this.#drainTurn();
    if (hasMore) this.#again = setImmediate(() => this.#drain());
    else this.#schedule();
  }

  #drainTurn(): boolean {
    let hasMore = false;
    const share = Math.max(4096, Math.floor(TURN_BYTES / Math.max(1, this.#producers.length)));
    for (const { reader } of this.#producers) hasMore = reader.drain(share, (record) => this.#take(record)) || hasMore;
    this.#flush();
    return hasMore;
  }

  /** What is there now. */
  #drainAll(): void {
    for (const { reader } of this.#producers) reader.drain(2 ** 30, (record) => this.#take(record));
    this.#flush();
  }

  #take(record: RecordedQuery): void {
    const hasQuestion = this.#question.read(record);
    if ((record.wanted & WANTED.statistics) !== 0) {
      this.#weightThisSecond += record.weight;
      this.#statistics.add(record, this.#question, hasQuestion);
    }
    if ((record.wanted & WANTED.json) !== 0 && this.#json !== null)
      this.#lines.push(jsonLine(this.#options.server, record, this.#question, hasQuestion));
    if ((record.wanted & WANTED.dnstap) !== 0 && this.#dnstap !== null) this.#tap(record, hasQuestion);
  }

  #tap(record: RecordedQuery, hasQuestion: boolean): void {
    const messages = this.#config.dnstap?.messages ?? [];
    const listener = this.listeners[record.listener];
    const queryTime = { seconds: record.seconds, nanoseconds: record.microseconds * 1000 };
    const micros = record.microseconds + record.tookMicroseconds;
    const responseTime = {
      seconds: record.seconds + Math.floor(micros / 1e6),
      nanoseconds: (micros % 1e6) * 1000,
    };
    const common = {
      family: record.family,
      transport: record.isTcp ? ('tcp' as const) : ('udp' as const),
      clientAddress: clientOf(record).bytes,
      clientPort: record.port,
      serverAddress: listener === undefined ? null : this.#addressBytes(listener.address),
      serverPort: listener?.port ?? 0,
      queryTime,
      responseTime,
      zone: hasQuestion ? this.#zone() : null,
    };
    const { bytes, queryStart, queryBytes, answerBytes } = record;
    const answerStart = queryStart + queryBytes;
    if (messages.includes('query'))
      this.#frame({ ...common, kind: 'query', bytes: bytes.subarray(queryStart, answerStart) });
    if (answerBytes > 0 && messages.includes('response'))
      this.#frame({ ...common, kind: 'response', bytes: bytes.subarray(answerStart, answerStart + answerBytes) });
  }

  #addressBytes(text: string): Uint8Array | null {
    let bytes = this.#addresses.get(text);
    if (bytes === undefined) {
      bytes = parseAddress(text)?.bytes ?? null;
      this.#addresses.set(text, bytes);
    }
    return bytes;
  }

  #zone(): Uint8Array | null {
    const name: HashedName = hashName(this.#question.name());
    return findClosest(this.#options.zones(), name)?.zone.name ?? null;
  }

  #frame(message: TapMessage): void {
    const limit = tapFrameLimit(message, this.#identity);
    if (this.#framesBytes + limit > this.#frames.length) {
      this.#flush();
      this.#frames = Buffer.allocUnsafe(Math.max(CHUNK_BYTES, limit));
    }
    this.#framesBytes = writeTapFrame(this.#frames, this.#framesBytes, message, this.#identity);
    this.#framesCount++;
  }

  #flush(): void {
    if (this.#framesCount > 0) {
      this.#dnstap?.write(this.#frames.subarray(0, this.#framesBytes), this.#framesCount);
      // What was written belongs to the sink now.
      this.#frames = this.#frames.subarray(this.#framesBytes);
      this.#framesBytes = 0;
      this.#framesCount = 0;
    }
    if (this.#lines.length === 0) return;
    this.#json?.write(Buffer.from(`${this.#lines.join('\n')}\n`), this.#lines.length);
    this.#lines = [];
  }

  /** The busier the server, the fewer of its queries are looked at for statistics. */
  #eachSecond(): void {
    this.#statistics.rotate();
    const { statistics: dropped } = this.status.dropped;
    const queries = this.#weightThisSecond + (dropped - this.#droppedBefore) * this.#statistics.sampledEvery;
    this.#statistics.sampledEvery = Math.max(1, Math.ceil(queries / SAMPLES_PER_SECOND));
    this.#droppedBefore = dropped;
    this.#weightThisSecond = 0;
    this.#setRecording();
  }

  #settings(): RecordingSettings {
    const { dnstap, json } = this.#config;
    return {
      statisticsEvery: this.#statistics.sampledEvery,
      dnstapEvery: dnstap?.every ?? 0,
      jsonEvery: json?.every ?? 0,
      jsonRcodes: json?.rcodes ?? [],
      jsonClients: json?.clients ?? [],
    };
  }

  #setRecording(): void {
    const settings = this.#settings();
    for (const { ring } of this.#producers) setRecording(ring, settings);
  }

  /** Goes over to another configuration; a target that stays the same goes on. */
  reload(config: Config): void {
    const before = this.#config;
    // As it was asked for.
    this.#drainAll();
    this.#config = config.queryLog;
    this.#statistics.setConfig(config);
    this.#setRecording();
    if (this.#second === undefined) return;
    const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
    const { dnstap, json } = config.queryLog;
    if (!isSame(targetOf(before.dnstap), targetOf(dnstap))) this.#closeSink('dnstap');
    if (!isSame(targetOf(before.json), targetOf(json))) this.#closeSink('json');
    this.#openSinks();
  }

  #closeSink(kind: 'dnstap' | 'json'): void {
    this.#flush();
    const sink = kind === 'dnstap' ? this.#dnstap : this.#json;
    if (kind === 'dnstap') this.#dnstap = null;
    else this.#json = null;
    if (sink === null) return;
    const closing = sink.close().then(() => {
      this.#gone[kind].written += sink.status.written;
      this.#gone[kind].dropped += sink.status.dropped;
      this.#closing = this.#closing.filter((one) => one !== closing);
    });
    this.#closing.push(closing);
  }

  #openSinks(): void {
    const { dnstap, json } = this.#config;
    const { server, log } = this.#options;
    if (dnstap !== null && this.#dnstap === null) {
      const head = controlFrame(CONTROL.start, DNSTAP_CONTENT);
      const tail = controlFrame(CONTROL.stop, null);
      this.#dnstap =
        dnstap.socket !== null
          ? new FrameSocket(dnstap.socket, log)
          : new RotatedFile({ ...fileOf(dnstap, `${server}.dnstap`), head, tail, log });
    }
    if (json !== null && this.#json === null) {
      const none = Buffer.alloc(0);
      this.#json = new RotatedFile({ ...fileOf(json, `${server}.jsonl`), head: none, tail: none, log });
    }
  }

  top(count: number): DnsTop {
    this.#drainTurn();
    return this.#statistics.top(count);
  }

  /** Queries by client group, in estimate. */
  get groups(): Readonly<Record<string, number>> {
    return this.#statistics.groups;
  }

  get status(): QueryLogStatus {
    const dropped = { log: 0, statistics: 0 };
    for (const { reader } of this.#producers) {
      dropped.log += reader.dropped.log;
      dropped.statistics += reader.dropped.statistics;
    }
    const statusOf = (kind: 'dnstap' | 'json', sink: LogSink | null): SinkStatus | null => {
      if (sink === null) return null;
      const { written, dropped: lost } = sink.status;
      return { ...sink.status, written: written + this.#gone[kind].written, dropped: lost + this.#gone[kind].dropped };
    };
    return {
      dnstap: statusOf('dnstap', this.#dnstap),
      json: statusOf('json', this.#json),
      dropped,
      statisticsEvery: this.#statistics.sampledEvery,
    };
  }

  /** Writes what was recorded up to now, as far as a second suffices. Nobody records any more. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    clearImmediate(this.#again);
    clearInterval(this.#second);
    this.#second = undefined;
    this.#drainAll();
    this.#closeSink('dnstap');
    this.#closeSink('json');
    await Promise.all(this.#closing);
  }
}

function targetOf(log: TapLog | JsonLog | null): unknown {
  if (log === null) return null;
  const { folder, maxBytes, keep } = log;
  return { socket: 'socket' in log ? log.socket : null, folder, maxBytes, keep };
}

function fileOf({ folder, maxBytes, keep }: TapLog | JsonLog, name: string) {
  return { path: join(folder ?? '', name), maxBytes, keep };
}
