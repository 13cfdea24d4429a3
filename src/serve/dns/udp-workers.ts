/**
 * The threads that serve the UDP sockets, in generations: another configuration gets new threads, which take over when they are ready, so
 * that no query waits for zones to be compiled. The sockets are the main thread's; a thread that ends unasked is replaced.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Config } from '../../config/model.ts';
import type { SteeringView } from '../../decide/steer/nearest.ts';
import { AskerReader, countsAskers, createAskerMemory, type VisitQueries } from './asker-counts.ts';
import {
  addCounters,
  addPublished,
  countSite,
  createCounterMemory,
  createDnsCounters,
  type DnsCounters,
} from './counters.ts';
import { EventDescriptor } from './event-descriptor.ts';
import type { Served } from './served.ts';
import { createViewMemory, publishView, SiteLayout } from './shared-view.ts';
import { CONTROL, STOP, type UdpWorkerStart, type WorkerNews, type WorkerSocket } from './udp-worker-shared.ts';

const MAX_DEFAULT_WORKERS = 8;
/** Where the view does not tell of changes. */
const LOOK_MS = 50;
/** A thread that ends sooner than this after its start is replaced no sooner than this. */
const RESTART_MS = 1000;
/** For a thread to end that was told to. */
const STOP_MS = 3000;

export interface UdpWorkersOptions {
  /** Another process serves until the threads are ready. */
  readonly isSuccessor: boolean;
  /** By address, of each as many as there are; a configuration with more threads lets some share one. */
  readonly sockets: readonly (readonly Pick<WorkerSocket, 'family' | 'fd'>[])[];
  readonly view: SteeringView;
  readonly limits: UdpWorkerStart['limits'];
  readonly beacons: UdpWorkerStart['beacons'];
  /** For the queries that one more thread records. */
  readonly addRing: () => SharedArrayBuffer;
  readonly log: { warn(fields: object, message: string): void } | undefined;
}

export class UdpWorkers {
  readonly #options: UdpWorkersOptions;
  /** Of threads that have ended, and of restarts. */
  readonly #past = createDnsCounters();
  readonly #rings: RingPool;
  readonly #generations = new Set<Generation>();
  readonly #timer: NodeJS.Timeout;
  readonly #unsubscribe: (() => void) | undefined;
  #current: Generation;

  /** Starts the threads; the sockets are served some 0.2 s later. */
  constructor(served: Served, options: UdpWorkersOptions) {
    this.#options = options;
    this.#rings = new RingPool(options.addRing);
    this.#current = this.#begin(served, options.isSuccessor);
    const look = () => {
      for (const generation of this.#generations) generation.publish();
    };
    this.#unsubscribe = options.view.onChange?.(look);
    this.#timer = setInterval(look, LOOK_MS);
    this.#timer.unref();
  }

  #begin(served: Served, isSuccessor: boolean): Generation {
    const generation = new Generation(served, this.#options, this.#past, this.#rings, isSuccessor);
    this.#generations.add(generation);
    return generation;
  }

  /** Of the threads that serve now. */
  get ready(): Promise<void> {
    return this.#current.ready;
  }

  /** Resolves when all queries that arrive are answered from `served`. Rejects when that fails: then all is as before. */
  async replace(served: Served): Promise<void> {
    const [before, next] = [this.#current, this.#begin(served, true)];
    try {
      await next.ready;
    } catch (error) {
      await this.#end(next, STOP.leave);
      throw error;
    }
    this.#current = next;
    await this.#end(before, STOP.leave);
  }

  async stop(how: (typeof STOP)[keyof typeof STOP]): Promise<void> {
    clearInterval(this.#timer);
    this.#unsubscribe?.();
    await Promise.all([...this.#generations].map((generation) => this.#end(generation, how)));
  }

  async #end(generation: Generation, how: number): Promise<void> {
    await generation.stop(how);
    this.#generations.delete(generation);
  }

  /** Who asked for what since the last call, if the configuration wants that to be counted. What a thread counts last is lost with it. */
  readAskers(visit: VisitQueries): void {
    for (const generation of this.#generations) generation.readAskers(visit);
  }

  /** Adds up to now. */
  addCounters(counters: DnsCounters): void {
    addCounters(counters, this.#past);
    for (const generation of this.#generations) generation.addCounters(counters);
  }
}

interface Thread {
  readonly worker: Worker;
  readonly counters: SharedArrayBuffer;
  readonly siteAnswers: SharedArrayBuffer;
  readonly askers: AskerReader | null;
  readonly startedMs: number;
}

/** Threads that a configuration asks for; by default half of the CPUs: packets have to be received too, and forwarded. */
export function workerCount({ dnsProtocol }: Config): number {
  return dnsProtocol.workers ?? Math.min(MAX_DEFAULT_WORKERS, Math.max(1, availableParallelism() >> 1));
}

/** Which sockets each thread serves: each socket has a thread, each thread one of each address. */
export function shareSockets<S>(addresses: readonly (readonly S[])[], threads: number): S[][] {
  return Array.from({ length: threads }, (_, thread) =>
    addresses.flatMap((sockets) =>
      sockets.filter((__, at) => at % threads === thread || thread % sockets.length === at),
    ),
  );
}

/** A ring has one thread at a time that writes to it; what it still holds when that ends is read all the same. */
class RingPool {
  readonly #add: () => SharedArrayBuffer;
  readonly #free: SharedArrayBuffer[] = [];

  constructor(add: () => SharedArrayBuffer) {
    this.#add = add;
  }

  take(): SharedArrayBuffer {
    return this.#free.pop() ?? this.#add();
  }

  give(ring: SharedArrayBuffer): void {
    this.#free.push(ring);
  }
}

/** Threads with one configuration. */
class Generation {
  readonly ready: Promise<void>;
  readonly #isSuccessor: boolean;
  readonly #served: Served;
  readonly #options: UdpWorkersOptions;
  readonly #past: DnsCounters;
  readonly #rings: RingPool;
  readonly #layout: SiteLayout;
  readonly #view: SharedArrayBuffer;
  readonly #control = new SharedArrayBuffer(CONTROL.words * 4);
  readonly #wake = new EventDescriptor();
  readonly #threads = new Set<Thread>();
  readonly #restarts = new Set<NodeJS.Timeout>();
  #isStopping = false;

  constructor(served: Served, options: UdpWorkersOptions, past: DnsCounters, rings: RingPool, isSuccessor: boolean) {
    this.#isSuccessor = isSuccessor;
    this.#served = served;
    this.#options = options;
    this.#past = past;
    this.#rings = rings;
    this.#layout = new SiteLayout(served.config);
    this.#view = createViewMemory(this.#layout);
    this.publish();
    const numbered = options.sockets.map((sockets, listener) =>
      sockets.map(({ family, fd }) => ({ family, fd, listener })),
    );
    const threads = shareSockets(numbered, workerCount(served.config));
    this.ready = Promise.all(threads.map((sockets) => this.#startThread(sockets))).then(() => undefined);
    // Who waits for it hears of it; a first generation's threads are restarted.
    this.ready.catch(() => undefined);
  }

  publish(): void {
    publishView(this.#layout, this.#options.view, this.#view);
  }

  /** Resolves when it serves; rejects when it ends before. */
  #startThread(sockets: readonly WorkerSocket[]): Promise<void> {
    const counters = createCounterMemory();
    const siteAnswers = new SharedArrayBuffer(this.#layout.pairs.length * 8);
    const ring = this.#rings.take();
    const askers = countsAskers(this.#served.config) ? createAskerMemory() : null;
    const workerData: UdpWorkerStart = {
      served: this.#served,
      sockets,
      isSuccessor: this.#isSuccessor,
      wakeFd: this.#wake.fd,
      control: this.#control,
      view: this.#view,
      counters,
      siteAnswers,
      askers,
      beacons: this.#options.beacons,
      ring,
      limits: this.#options.limits,
    };
    const worker = new Worker(new URL('./udp-worker.ts', import.meta.url), { workerData, name: 'dns' });
    const reader = askers === null ? null : new AskerReader(askers, this.#layout.pairs);
    const thread: Thread = { worker, counters, siteAnswers, askers: reader, startedMs: performance.now() };
    this.#threads.add(thread);
    return new Promise((resolve, reject) => {
      let cause = 'a DNS worker ended';
      worker.on('message', (news: WorkerNews) => {
        if (news.kind === 'ready') resolve();
        else this.#options.log?.warn({ error: news.error }, 'DNS failed to answer a query');
      });
      worker.on('error', (error) => {
        cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
      });
      worker.on('exit', () => {
        this.#threads.delete(thread);
        this.#addThread(this.#past, thread);
        this.#rings.give(ring);
        if (!this.#isStopping) this.#restart(sockets, thread, cause);
        reject(new Error(cause));
      });
    });
  }

  #restart(sockets: readonly WorkerSocket[], { startedMs }: Thread, cause: string): void {
    this.#past.workers.restarted++;
    this.#options.log?.warn({ error: cause }, 'a DNS worker ended and is replaced');
    const wait = performance.now() - startedMs < RESTART_MS ? RESTART_MS : 0;
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      this.#startThread(sockets).catch(() => undefined);
    }, wait);
    this.#restarts.add(timer);
  }

  async stop(how: number): Promise<void> {
    this.#isStopping = true;
    for (const timer of this.#restarts) clearTimeout(timer);
    Atomics.store(new Int32Array(this.#control), CONTROL.stop, how);
    this.#wake.ring();
    const ended = [...this.#threads].map(({ worker }) => {
      const timer = setTimeout(() => void worker.terminate(), STOP_MS);
      return new Promise<void>((resolve) => worker.once('exit', () => resolve())).finally(() => clearTimeout(timer));
    });
    await Promise.all(ended);
    this.#wake.close();
  }

  addCounters(counters: DnsCounters): void {
    for (const thread of this.#threads) this.#addThread(counters, thread);
  }

  readAskers(visit: VisitQueries): void {
    for (const { askers } of this.#threads) askers?.read(visit);
  }

  #addThread(counters: DnsCounters, thread: Thread): void {
    addPublished(counters, thread.counters);
    for (const [number, answers] of new Float64Array(thread.siteAnswers).entries()) {
      const { service, site } = this.#layout.pairs[number];
      if (answers > 0) countSite(counters, service, site, answers);
    }
  }
}
