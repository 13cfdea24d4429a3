/**
 * A thread that serves UDP sockets. While it runs it has no event loop: it is blocked in a call, or answers. It hears of things by shared
 * memory, and tells by messages and counters.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Answerer } from './answer.ts';
import { AskerCounter, askerCounting } from './asker-counts.ts';
import { BeaconNotes, BeaconWatch } from './beacon-notes.ts';
import { CounterPublisher, createDnsCounters } from './counters.ts';
import { DatagramBatch, Waiter } from './datagram-batch.ts';
import type { Asker } from './exchange.ts';
import { openLimitMemory } from './kernel/limit-memory.ts';
import { practise } from './practice.ts';
import { QueryRecorder } from './query-log/ring.ts';
import { RateLimiter } from './rate-limit.ts';
import { Responder } from './respond.ts';
import { compileServed, signingOf } from './served.ts';
import { SharedView, SiteLayout } from './shared-view.ts';
import { SteeredAnswers } from './steered-answers.ts';
import { SteeredResponder, steeredCounters } from './steered-responder.ts';
import { answerFirst, prepareInBackground } from './thread-priority.ts';
import { createTransferPolicy } from './transfer/access.ts';
import { CONTROL, STOP, type UdpWorkerStart, type WorkerNews } from './udp-worker-shared.ts';

/** Also bounds how long a worker lives on when the process ends without stopping it. */
const WAIT_MS = 500;
/** For what has arrived when it stops. */
const FINISH_MS = 1000;
const FAILURE_NEWS_MS = 1000;

function tell(news: WorkerNews): void {
  parentPort?.postMessage(news);
}

/** One socket's messages in hand at a time. */
class UdpWorker {
  readonly #start: UdpWorkerStart;
  readonly #control: Int32Array;
  readonly #counters = createDnsCounters();
  readonly #publisher: CounterPublisher;
  /** Of what the short way counts. */
  readonly #shortPlaces: Uint16Array;
  /** Whether a query of the batch went the long way. */
  #isLong = false;
  readonly #steered: SteeredResponder;
  readonly #responder: Responder;
  readonly #limits: ReturnType<typeof openLimitMemory>;
  readonly #batches = new Map<4 | 6, DatagramBatch>();
  /** The client is set for each message. */
  readonly #asker: { -readonly [K in keyof Asker]: Asker[K] } = {
    client: { family: 4, bytes: new Uint8Array(4) },
    transport: 'udp',
    nowMs: 0,
    listener: 0,
    keepaliveTenths: 0,
  };
  #failureToldMs = Number.NEGATIVE_INFINITY;

  constructor(start: UdpWorkerStart) {
    this.#start = start;
    this.#control = new Int32Array(start.control);
    this.#publisher = new CounterPublisher(this.#counters, start.counters);
    this.#shortPlaces = this.#publisher.placesOf(steeredCounters(this.#counters));
    const layout = new SiteLayout(start.served.config);
    const view = new SharedView(layout, start.view);
    const compiled = compileServed(start.served, view);
    if (!compiled.ok) throw new Error('the configuration of a DNS worker has problems');
    this.#limits = openLimitMemory(start.limits);
    const limits = start.served.config.dnsProtocol.rateLimit;
    const limiter = new RateLimiter(limits, start.limits.seed, this.#counters.limits, this.#limits.buffer);
    const siteAnswers = new Float64Array(start.siteAnswers);
    const countSite = (service: string, site: string) => {
      siteAnswers[layout.numberOf(service, site)]++;
    };
    const answerer = new Answerer(compiled.sources);
    // Transfers themselves go by TCP.
    answerer.transfers = createTransferPolicy(start.served.config.transfers, () => false);
    const signing = signingOf(start.served, compiled.sources.zones, this.#counters.dnssec);
    answerer.signing = signing;
    const recorder = new QueryRecorder(start.ring);
    const numberOf = (service: string, site: string) => layout.numberOf(service, site);
    const steered = new SteeredAnswers(compiled.sources, signing, numberOf);
    const askers = start.askers === null ? null : new AskerCounter(start.askers, start.limits.seed);
    this.#steered = new SteeredResponder(steered, limiter, recorder, siteAnswers, askers);
    this.#responder = new Responder(answerer, limiter, this.#counters, recorder, countSite);
    const { beacons } = start.served.config;
    if (beacons !== null) this.#responder.beacons = new BeaconWatch(beacons.name, new BeaconNotes(start.beacons));
    if (askers !== null) this.#responder.countAsker = askerCounting(askers, numberOf);
    for (const { family } of start.sockets) {
      if (!this.#batches.has(family)) this.#batches.set(family, new DatagramBatch(family));
    }
    const [batch] = this.#batches.values();
    if (start.isSuccessor && batch !== undefined) practise(compiled.sources, signing, start.served.config, batch);
  }

  /** Until it is told to stop. */
  run(): void {
    const { sockets, wakeFd } = this.#start;
    const waiter = new Waiter([...sockets.map(({ fd }) => fd), wakeFd]);
    while (this.#stopping() === 0) {
      if (this.#serveAll()) continue;
      this.#publisher.publish();
      waiter.wait(WAIT_MS);
    }
    if (this.#stopping() === STOP.finish) {
      const deadlineMs = performance.now() + FINISH_MS;
      while (performance.now() < deadlineMs && this.#serveAll());
    }
    for (const batch of this.#batches.values()) batch.close();
    this.#limits.close();
  }

  #stopping(): number {
    return Atomics.load(this.#control, CONTROL.stop);
  }

  /** One batch of each socket; whether there was anything. */
  #serveAll(): boolean {
    let isBusy = false;
    for (const { family, fd, listener } of this.#start.sockets) {
      const batch = this.#batches.get(family);
      if (batch === undefined) throw new Error(`no batch for IPv${family}`);
      const received = batch.receive(fd);
      if (received === 0) continue;
      this.#steered.refresh();
      this.#asker.nowMs = Date.now();
      this.#asker.listener = listener;
      for (let i = 0; i < received; i++) this.#answer(batch, i);
      this.#steered.count(this.#counters);
      // Before anybody can see the answers.
      if (this.#isLong) this.#publisher.publish();
      else this.#publisher.publishSome(this.#shortPlaces);
      this.#isLong = false;
      const unsent = batch.send(fd);
      if (unsent > 0) {
        this.#counters.unsent += unsent;
        this.#publisher.publish();
      }
      isBusy = true;
    }
    return isBusy;
  }

  #respond(batch: DatagramBatch, i: number): number {
    const asker = this.#asker;
    const steered = this.#steered;
    const length = batch.lengthOf(i);
    const port = batch.portOf(i);
    const { bytes, view } = batch;
    const sent = steered.respond(bytes, view, batch.startOf(i), length, asker, port, batch.answerOf(i));
    if (sent > 0) return sent;
    this.#isLong = true;
    return this.#responder.respond(batch.messages[i], length, asker, port, batch.answers[i], steered.verdict);
  }

  #answer(batch: DatagramBatch, i: number): void {
    this.#asker.client = batch.clients[i];
    try {
      const length = this.#respond(batch, i);
      if (length > 0) batch.reply(i, length);
    } catch (error) {
      // One query must not be able to stop the service for all.
      this.#counters.dropped.failed++;
      this.#isLong = true;
      this.#tellFailure(error);
    }
  }

  #tellFailure(error: unknown): void {
    const nowMs = performance.now();
    if (nowMs - this.#failureToldMs < FAILURE_NEWS_MS) return;
    this.#failureToldMs = nowMs;
    tell({ kind: 'failed', error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}

prepareInBackground();
const worker = new UdpWorker(workerData as UdpWorkerStart);
answerFirst();
tell({ kind: 'ready' });
worker.run();
