/**
 * The thread behind `delay-line.ts`: moves packets between two TUN devices, each in its own network namespace, with a
 * delay. It blocks in ppoll(2), which would stall the main thread; setns(2) concerns one thread only.
 */
import { closeSync, openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import koffi from 'koffi';
import type { DelayLineEnd, DelayLineStart } from './delay-line-shared.ts';
import { CONTROL, COUNTER, COUNTERS_PER_DIRECTION, LOSS_SCALE } from './delay-line-shared.ts';
import { DelayQueue, SLOT_BYTES } from './delay-queue.ts';

const CLONE_NEWNET = 0x40000000;
const O_RDWR_NONBLOCK = 0o2 | 0o4000;
const TUNSETIFF = 0x400454ca;
const IFF_TUN_NO_PI = 0x0001 | 0x1000;
const POLLIN = 1;
/** How many packets are taken from one device before the other gets its turn. */
const BATCH_PACKETS = 256;
/** The longest wait, so that the stop flag is seen in time. */
const MAX_WAIT_MS = 50;

const libc = koffi.load('libc.so.6');
const setns = libc.func('int setns(int fd, int nstype)');
const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)');
const open = libc.func('int open(const char *path, int flags)');
const close = libc.func('int close(int fd)');
const read = libc.func('intptr_t read(int fd, void *buffer, size_t count)');
const write = libc.func('intptr_t write(int fd, void *buffer, size_t count)');
const ppoll = libc.func('int ppoll(void *fds, unsigned long count, void *timeout, void *mask)');

interface Direction {
  readonly from: number;
  readonly to: number;
  readonly queue: DelayQueue;
  /** Keeps the slots' memory alive; `addresses` point into it, and one more slot for packets to be dropped. */
  readonly memory: Buffer;
  readonly addresses: readonly bigint[];
  readonly control: { readonly delayUs: number; readonly loss: number };
  readonly counters: number;
}

/** Makes the TUN device in the namespace of the end and returns its descriptor. The thread stays in that namespace. */
function openTun(end: DelayLineEnd): number {
  const namespace = openSync(`/run/netns/${end.netns}`, 'r');
  if (setns(namespace, CLONE_NEWNET) !== 0) throw new Error(`setns to ${end.netns}: errno ${koffi.errno()}`);
  closeSync(namespace);
  const fd = open('/dev/net/tun', O_RDWR_NONBLOCK);
  if (fd < 0) throw new Error(`/dev/net/tun: errno ${koffi.errno()}`);
  const request = Buffer.alloc(40); // struct ifreq
  request.write(end.device, 0, 15, 'latin1');
  request.writeUInt16LE(IFF_TUN_NO_PI, 16);
  if (ioctl(fd, TUNSETIFF, request) !== 0) throw new Error(`TUN device ${end.device}: errno ${koffi.errno()}`);
  return fd;
}

function makeDirection(from: number, to: number, slots: number, index: 0 | 1): Direction {
  const memory = Buffer.alloc((slots + 1) * SLOT_BYTES);
  const base = koffi.address(memory);
  const addresses = Array.from({ length: slots + 1 }, (_, slot) => base + BigInt(slot * SLOT_BYTES));
  const control =
    index === 0
      ? { delayUs: CONTROL.forwardDelayUs, loss: CONTROL.forwardLoss }
      : { delayUs: CONTROL.backwardDelayUs, loss: CONTROL.backwardLoss };
  return {
    from,
    to,
    queue: new DelayQueue(slots),
    memory,
    addresses,
    control,
    counters: index * COUNTERS_PER_DIRECTION,
  };
}

/** xorshift32: the same seed loses the same packets. */
function makeRandom(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const start = workerData as DelayLineStart;
const control = new Int32Array(start.control);
const counters = new Float64Array(start.counters);
const random = makeRandom(start.seed);

function takeIn(direction: Direction): void {
  const { queue, addresses } = direction;
  const delayMs = Atomics.load(control, direction.control.delayUs) / 1000;
  const loss = Atomics.load(control, direction.control.loss);
  for (let taken = 0; taken < BATCH_PACKETS; taken++) {
    const slot = queue.nextFree();
    const length = Number(read(direction.from, addresses[slot < 0 ? queue.slots : slot], SLOT_BYTES));
    if (length <= 0) return; // EAGAIN: nothing more, or the device is down
    if (slot < 0) counters[direction.counters + COUNTER.full]++;
    else if (loss > 0 && random() % LOSS_SCALE < loss) counters[direction.counters + COUNTER.lost]++;
    else queue.push(length, performance.now() + delayMs);
  }
}

function giveOut(direction: Direction): void {
  const { queue, addresses } = direction;
  const nowMs = performance.now();
  for (let slot = queue.firstDue(nowMs); slot >= 0; slot = queue.firstDue(nowMs)) {
    const written = Number(write(direction.to, addresses[slot], queue.lengthOf(slot)));
    counters[direction.counters + (written < 0 ? COUNTER.refused : COUNTER.carried)]++;
    queue.shift();
  }
}

function run(directions: readonly [Direction, Direction]): void {
  const polled = new Int32Array([directions[0].from, POLLIN, directions[1].from, POLLIN]); // struct pollfd[2]
  const timeout = new Int32Array(4); // struct timespec, little endian, high words 0
  while (Atomics.load(control, CONTROL.stop) === 0) {
    const nowMs = performance.now();
    const waitMs = Math.min(MAX_WAIT_MS, directions[0].queue.untilDueMs(nowMs), directions[1].queue.untilDueMs(nowMs));
    timeout[2] = Math.floor(waitMs * 1e6);
    polled[1] = POLLIN;
    polled[3] = POLLIN;
    if (ppoll(polled, 2, timeout, null) > 0) {
      if (polled[1] >>> 16 !== 0) takeIn(directions[0]);
      if (polled[3] >>> 16 !== 0) takeIn(directions[1]);
    }
    giveOut(directions[0]);
    giveOut(directions[1]);
  }
}

const first = openTun(start.ends[0]);
const second = openTun(start.ends[1]);
const directions = [
  makeDirection(first, second, start.slots, 0),
  makeDirection(second, first, start.slots, 1),
] as const;
parentPort?.postMessage('ready');
run(directions);
close(first);
close(second);
