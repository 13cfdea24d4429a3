/**
 * The C library, as far as Node has no way to the same thing: namespaces, mapped memory of kernel maps, sockets that are
 * made at once instead of on a later tick. Calls are synchronous and cost about 0.2 us beside the kernel's own time.
 */
import koffi from 'koffi';
import { systemError } from './errno.ts';

const libc = koffi.load('libc.so.6');

const cOpen = libc.func('int open(const char *path, int flags, int mode)');
const cClose = libc.func('int close(int fd)');
const cSetns = libc.func('int setns(int fd, int type)');
const cMmap = libc.func('void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)');
const cMunmap = libc.func('int munmap(void *address, size_t length)');
const cSocket = libc.func('int socket(int family, int type, int protocol)');
const cBind = libc.func('int bind(int fd, void *address, uint32_t length)');
const cGetsockname = libc.func('int getsockname(int fd, void *address, _Inout_ uint32_t *addressLength)');
const cListen = libc.func('int listen(int fd, int backlog)');
const cSendto = libc.func(
  'long sendto(int fd, void *bytes, size_t length, int flags, void *address, uint32_t addressLength)',
);
const cRecv = libc.func('long recv(int fd, void *bytes, size_t length, int flags)');
const cSetsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t length)');
const cGetsockopt = libc.func('int getsockopt(int fd, int level, int name, void *value, _Inout_ uint32_t *length)');
const cClockGettime = libc.func('int clock_gettime(int clock, void *time)');
const cIfNametoindex = libc.func('unsigned int if_nametoindex(const char *name)');
const cVsnprintf = libc.func('int vsnprintf(void *buffer, size_t size, void *format, void *arguments)');
const cSchedSetaffinity = libc.func('int sched_setaffinity(int pid, size_t size, void *mask)');

export const O_RDONLY = 0;
export const O_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;
const MSG_DONTWAIT = 0x40;
const MAP_FAILED = 0xffffffffffffffffn;
const CLOCK_MONOTONIC_COARSE = 6;
/** Of the machines that we run on. */
export const PAGE_BYTES = 4096;

/** The errno of the last call, which must be the last thing that happened on this thread. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Throws a system error when a call returned a negative number. */
export function check(result: number, attempt: string): number {
  if (result < 0) throw systemError(attempt, koffi.errno());
  return result;
}

export function openPath(path: string, flags = O_RDONLY): number {
  return check(cOpen(path, flags | O_CLOEXEC, 0), `open ${path}`);
}

export function closeFd(fd: number): void {
  check(cClose(fd), `close descriptor ${fd}`);
}

/** Puts this thread into the network namespace that `fd` stands for. */
export function setNetworkNamespace(fd: number, name: string): void {
  check(cSetns(fd, CLONE_NEWNET), `enter network namespace ${name}`);
}

export interface MappedMemory {
  readonly buffer: ArrayBuffer;
  /** Of its first byte. */
  readonly address: bigint;
  /** Takes the memory away. Views over `buffer` then have length 0 instead of pointing to nothing. */
  unmap(): void;
}

/**
 * Maps `lengthBytes` bytes behind a descriptor from `offset` (whole pages) on, shared, for reading and, unless `readOnly`,
 * writing. The kernel rounds up to whole pages; `buffer` has the exact length. Reads and writes then cost no call.
 */
export function mapMemory(fd: number, lengthBytes: number, what: string, readOnly = false, offset = 0): MappedMemory {
  const pages = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
  return mapPages(pages, lengthBytes, readOnly ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset, what);
}

/** Memory of this process alone, all zero, that stays where it is: for structures with addresses in them. */
export function allocateMemory(lengthBytes: number, what: string): MappedMemory {
  const pages = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
  return mapPages(pages, lengthBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, what);
}

function mapPages(
  pages: number,
  lengthBytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
  what: string,
): MappedMemory {
  const address: bigint = cMmap(null, pages, protection, flags, fd, offset);
  if (address === MAP_FAILED) throw systemError(`map ${pages} bytes of ${what}`, koffi.errno());
  const buffer = koffi.view(address, lengthBytes);
  let mapped = true;
  return {
    buffer,
    address,
    unmap() {
      if (!mapped) return;
      mapped = false;
      buffer.transfer(); // detaches: a forgotten view reads undefined, not freed memory
      check(cMunmap(address, pages), `unmap ${what}`);
    },
  };
}

export function makeSocket(family: number, type: number, protocol: number): number {
  return check(cSocket(family, type, protocol), `make a socket of family ${family}, type ${type}`);
}

export function bindSocket(fd: number, address: Uint8Array, what: string): void {
  check(cBind(fd, address, address.length), `bind ${what}`);
}

/** The address that a socket is bound to: `struct sockaddr_in` or `sockaddr_in6`, 28 bytes. */
export function boundSocketAddress(fd: number): Uint8Array {
  const address = new Uint8Array(28);
  check(cGetsockname(fd, address, [address.length]), 'get the address of a socket');
  return address;
}

export function listenSocket(fd: number, backlog: number, what: string): void {
  check(cListen(fd, backlog), `listen on ${what}`);
}

/** Sets an option whose value is a C int. */
export function setSocketOption(fd: number, level: number, name: number, value: number, what: string): void {
  check(cSetsockopt(fd, level, name, new Int32Array([value]), 4), `set socket option ${what}`);
}

/** An option whose value is a 64-bit number. */
export function socketOption64(fd: number, level: number, name: number, what: string): bigint {
  const value = new BigUint64Array(1);
  check(cGetsockopt(fd, level, name, new Uint8Array(value.buffer), [8]), `get socket option ${what}`);
  return value[0];
}

/** Sends without waiting (MSG_DONTWAIT) to a socket address; gives 0, or the errno. */
export function sendTo(fd: number, bytes: Uint8Array, address: Uint8Array): number {
  const sent: number = cSendto(fd, bytes, bytes.length, MSG_DONTWAIT, address, address.length);
  return sent < 0 ? koffi.errno() : 0;
}

/** Receives one message, waiting for it; gives its length. What does not fit into `bytes` is lost. */
export function receive(fd: number, bytes: Uint8Array, what: string): number {
  return check(cRecv(fd, bytes, bytes.length, 0), `receive ${what}`);
}

/** Index of an interface of this thread's namespace; 0: there is none of that name. */
export function interfaceIndex(name: string): number {
  return cIfNametoindex(name);
}

const time = new BigInt64Array(2);

/**
 * CLOCK_MONOTONIC_COARSE in nanoseconds: the clock of `bpf_ktime_get_coarse_ns()`, which the kernel programs use for
 * ages, ticks and windows. Its resolution is the kernel's tick, 1 to 10 ms.
 */
export function coarseClockNs(): bigint {
  check(cClockGettime(CLOCK_MONOTONIC_COARSE, time), 'read the clock');
  return time[0] * 1_000_000_000n + time[1];
}

/** Formats with C's `vsnprintf`; `format` and `list` are pointers (`va_list`) as a C callback received them. */
export function formatVariadic(format: unknown, list: unknown, buffer: Uint8Array): string {
  const length: number = cVsnprintf(buffer, buffer.length, format, list);
  return Buffer.from(buffer.buffer, buffer.byteOffset, Math.min(length, buffer.length - 1)).toString('utf8');
}

/** Pins the calling thread to one CPU (0 to 1023): benchmarks and tests of per-CPU counters. */
export function pinToCpu(cpu: number): void {
  const mask = new Uint8Array(128);
  mask[cpu >> 3] = 1 << (cpu & 7);
  check(cSchedSetaffinity(0, mask.length, mask), `run on CPU ${cpu}`);
}
