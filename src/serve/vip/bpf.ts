/**
 * Kernel maps, programs, links and pins by their descriptors, through libbpf 1.x (`libbpf.so.1`, which iproute2 brings).
 * Structs of the kernel's interface are laid out by hand; offsets are those of <bpf/bpf.h> and <linux/bpf.h> on 64-bit
 * little-endian machines. Every function throws a system error that names what was attempted. Descriptors belong to
 * the caller, who closes them with `closeFd`.
 */
import koffi from 'koffi';
import { isErrno, systemError } from './errno.ts';
import { closeFd, lastErrno } from './libc.ts';

export const MAP_TYPE_HASH = 1;
export const MAP_TYPE_ARRAY = 2;
export const MAP_TYPE_PROG_ARRAY = 3;
export const MAP_TYPE_LRU_HASH = 9;
export const MAP_TYPE_LPM_TRIE = 11;
export const MAP_TYPE_ARRAY_OF_MAPS = 12;
export const BPF_F_MMAPABLE = 1 << 10;
export const BPF_F_INNER_MAP = 1 << 12;
/** Flags of `updateElement`: create or change, create only, change only. */
export const BPF_ANY = 0;
export const BPF_NOEXIST = 1;
export const BPF_EXIST = 2;

const ATTACH_TYPE_XDP = 37;
const ATTACH_TYPE_SOCK_OPS = 3;
const XDP_FLAGS_SKB = 2;
const XDP_FLAGS_DRIVER = 4;

type Native = (...args: unknown[]) => never;

interface Libbpf {
  readonly library: ReturnType<typeof koffi.load>;
  readonly functions: Map<string, Native>;
}

let loaded: Libbpf | null = null;

/** The library, loaded at the first use, so that commands without kernel work run without it. */
export function libbpf(): ReturnType<typeof koffi.load> {
  if (loaded === null) {
    try {
      loaded = { library: koffi.load('libbpf.so.1'), functions: new Map() };
    } catch (error) {
      throw new Error(`libbpf.so.1 cannot be loaded (Debian: apt install libbpf1): ${(error as Error).message}`);
    }
  }
  return loaded.library;
}

/** Calls a libbpf function that returns an int (a descriptor, 0, or a negative errno); gives what it returned. */
export function callLibbpf(declaration: string, ...args: unknown[]): number {
  libbpf();
  let native = loaded?.functions.get(declaration);
  if (native === undefined) {
    native = libbpf().func(declaration) as unknown as Native;
    loaded?.functions.set(declaration, native);
  }
  return native(...args) as number;
}

/** libbpf 1.x returns -errno and sets errno too; the functions that return pointers only set it. */
function must(result: number, attempt: string): number {
  if (result < 0) throw systemError(attempt, -result);
  return result;
}

/** As `must`, but false for the one errno that is an answer and not a failure. */
function mustUnless(result: number, expected: string, attempt: string): boolean {
  if (result >= 0) return true;
  const error = systemError(attempt, -result);
  if (isErrno(error, expected)) return false;
  throw error;
}

export interface MapDefinition {
  readonly name: string;
  readonly type: number;
  readonly keySizeBytes: number;
  readonly valueSizeBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** Creates a map. `name` is at most 15 characters (the kernel's limit); `innerMapFd`: the template of a map of maps. */
export function createMap(definition: MapDefinition, innerMapFd = 0): number {
  const options = new DataView(new ArrayBuffer(48)); // struct bpf_map_create_opts
  options.setBigUint64(0, 48n, true);
  options.setUint32(24, innerMapFd, true);
  options.setUint32(28, definition.flags, true);
  const { name, type, keySizeBytes, valueSizeBytes, maxEntries } = definition;
  const result = callLibbpf(
    'int bpf_map_create(int type, const char *name, uint32_t key, uint32_t value, uint32_t entries, void *options)',
    type,
    name,
    keySizeBytes,
    valueSizeBytes,
    maxEntries,
    new Uint8Array(options.buffer),
  );
  return must(result, `create map ${name} of ${maxEntries} entries of ${valueSizeBytes} bytes`);
}

/** Writes one element; the lengths of `key` and `value` must be the map's. About 1 us. */
export function updateElement(fd: number, key: Uint8Array, value: Uint8Array, flags = BPF_ANY): void {
  const result = callLibbpf(
    'int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)',
    fd,
    key,
    value,
    flags,
  );
  must(result, `write an element of map ${fd}`);
}

/** Reads one element into `value`; false: there is none. */
export function lookupElement(fd: number, key: Uint8Array, value: Uint8Array): boolean {
  const result = callLibbpf('int bpf_map_lookup_elem(int fd, void *key, _Out_ void *value)', fd, key, value);
  return mustUnless(result, 'ENOENT', `read an element of map ${fd}`);
}

/** Removes one element; false: there was none. */
export function deleteElement(fd: number, key: Uint8Array): boolean {
  const result = callLibbpf('int bpf_map_delete_elem(int fd, void *key)', fd, key);
  return mustUnless(result, 'ENOENT', `remove an element of map ${fd}`);
}

/** Writes the key after `key` (null: the first) into `next`; false: there is none. */
export function nextKey(fd: number, key: Uint8Array | null, next: Uint8Array): boolean {
  const result = callLibbpf('int bpf_map_get_next_key(int fd, void *key, _Out_ void *next)', fd, key, next);
  return mustUnless(result, 'ENOENT', `walk map ${fd}`);
}

/** Every key of a hash map, as copies. Keys that are added or removed meanwhile may be missed or met twice. */
export function listKeys(fd: number, keySizeBytes: number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  let key: Uint8Array | null = null;
  for (;;) {
    const next: Uint8Array = new Uint8Array(keySizeBytes);
    if (!nextKey(fd, key, next)) return keys;
    keys.push(next);
    key = next;
  }
}

/** Writes `count` elements in one call; `keys` and `values` are concatenated (values of 8-byte multiples as the map has them). */
export function updateBatch(fd: number, keys: Uint8Array, values: Uint8Array, count: number): void {
  const done = new Uint32Array([count]);
  const result = callLibbpf(
    'int bpf_map_update_batch(int fd, void *keys, void *values, void *count, void *options)',
    fd,
    keys,
    values,
    done,
    null,
  );
  must(result, `write ${count} elements of map ${fd} (${done[0]} written)`);
}

export interface MapInfo extends MapDefinition {
  readonly id: number;
}

const INFO = 'int bpf_obj_get_info_by_fd(int fd, void *info, void *length)';

function objectInfo(fd: number, what: string): DataView {
  // Longer than any of the structs that are read here; the kernel fills what it knows and says how much.
  const info = new Uint8Array(512);
  const length = new Uint32Array([info.length]);
  must(callLibbpf(INFO, fd, info, length), `ask about ${what} ${fd}`);
  return new DataView(info.buffer);
}

/** Room for the ids of the maps that a program uses: the kernel allows 64. */
const MAX_USED_MAPS = 64;

/** Ids of the maps that a program uses itself, without those of the programs that it calls. */
export function mapIdsOfProgram(fd: number): number[] {
  const info = new DataView(new ArrayBuffer(512));
  const ids = new Uint32Array(MAX_USED_MAPS);
  info.setUint32(52, MAX_USED_MAPS, true);
  info.setBigUint64(56, koffi.address(ids), true);
  const length = new Uint32Array([info.byteLength]);
  must(callLibbpf(INFO, fd, new Uint8Array(info.buffer), length), `ask about the maps of program ${fd}`);
  return [...ids.subarray(0, Math.min(info.getUint32(52, true), MAX_USED_MAPS))];
}

/** The BTF that a program was loaded with, that of its whole object, as in the object's section; null: it has none. */
export function btfOfProgram(programFd: number): Uint8Array | null {
  const btfId = objectInfo(programFd, 'program').getUint32(128, true);
  if (btfId === 0) return null;
  const fd = must(callLibbpf('int bpf_btf_get_fd_by_id(uint32_t id)', btfId), `open BTF ${btfId}`);
  try {
    const bytes = new Uint8Array(objectInfo(fd, 'BTF').getUint32(8, true));
    const info = new DataView(new ArrayBuffer(32)); // struct bpf_btf_info
    info.setBigUint64(0, koffi.address(bytes), true);
    info.setUint32(8, bytes.length, true);
    must(callLibbpf(INFO, fd, new Uint8Array(info.buffer), new Uint32Array([info.byteLength])), `read BTF ${btfId}`);
    return bytes;
  } finally {
    closeFd(fd);
  }
}

function readName(view: DataView, offset: number): string {
  const bytes = new Uint8Array(view.buffer, offset, 16);
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end < 0 ? 16 : end)).toString('latin1');
}

/** `struct bpf_map_info`. */
export function mapInfo(fd: number): MapInfo {
  const view = objectInfo(fd, 'map');
  return {
    type: view.getUint32(0, true),
    id: view.getUint32(4, true),
    keySizeBytes: view.getUint32(8, true),
    valueSizeBytes: view.getUint32(12, true),
    maxEntries: view.getUint32(16, true),
    flags: view.getUint32(20, true),
    name: readName(view, 24),
  };
}

export interface ProgramInfo {
  readonly type: number;
  readonly id: number;
  /** 16 hexadecimal digits: a hash of the program's instructions. */
  readonly tag: string;
  /** At most 15 characters: the kernel cuts. */
  readonly name: string;
}

/** `struct bpf_prog_info`. */
export function programInfo(fd: number): ProgramInfo {
  const view = objectInfo(fd, 'program');
  return {
    type: view.getUint32(0, true),
    id: view.getUint32(4, true),
    tag: Buffer.from(view.buffer, 8, 8).toString('hex'),
    name: readName(view, 64),
  };
}

export interface LinkInfo {
  readonly id: number;
  readonly programId: number;
  /** Of the interface; 0: the interface is gone and the link holds on to nothing. */
  readonly ifindex: number;
}

/** `struct bpf_link_info` of an XDP link. */
export function linkInfo(fd: number): LinkInfo {
  const view = objectInfo(fd, 'link');
  return { id: view.getUint32(4, true), programId: view.getUint32(8, true), ifindex: view.getUint32(16, true) };
}

export function mapFdById(id: number): number {
  return must(callLibbpf('int bpf_map_get_fd_by_id(uint32_t id)', id), `open map with id ${id}`);
}

export function programFdById(id: number): number {
  return must(callLibbpf('int bpf_prog_get_fd_by_id(uint32_t id)', id), `open program with id ${id}`);
}

/** Gives a map, program or link a path under a bpffs, which keeps it alive without any process. */
export function pinObject(fd: number, path: string): void {
  must(callLibbpf('int bpf_obj_pin(int fd, const char *path)', fd, path), `pin ${path}`);
}

/** Opens what is pinned at `path`; null: nothing is. */
export function openPinned(path: string): number | null {
  const result = callLibbpf('int bpf_obj_get(const char *path)', path);
  return mustUnless(result, 'ENOENT', `open the pin ${path}`) ? result : null;
}

export type XdpMode = 'native' | 'generic';

/** Attaches an XDP program to an interface of this thread's namespace; closing the last descriptor or pin detaches. */
export function createXdpLink(programFd: number, ifindex: number, mode: XdpMode): number {
  const options = new DataView(new ArrayBuffer(64)); // struct bpf_link_create_opts
  options.setBigUint64(0, 64n, true);
  options.setUint32(8, mode === 'native' ? XDP_FLAGS_DRIVER : XDP_FLAGS_SKB, true);
  const result = callLibbpf(
    'int bpf_link_create(int program, int target, int type, void *options)',
    programFd,
    ifindex,
    ATTACH_TYPE_XDP,
    new Uint8Array(options.buffer),
  );
  return must(result, `attach (${mode} XDP) to interface ${ifindex}`);
}

/** Attaches a program of type sock_ops to a cgroup, beside those of others; closing the last descriptor or pin detaches. Linux 5.7. */
export function createCgroupLink(programFd: number, cgroupFd: number): number {
  const result = callLibbpf(
    'int bpf_link_create(int program, int target, int type, void *options)',
    programFd,
    cgroupFd,
    ATTACH_TYPE_SOCK_OPS,
    null,
  );
  return must(result, 'attach to a cgroup');
}

/** Exchanges a link's program in one step: every packet meets the old or the new one. */
export function updateLink(linkFd: number, programFd: number): void {
  must(
    callLibbpf('int bpf_link_update(int link, int program, void *options)', linkFd, programFd, null),
    'update a link',
  );
}

/** Detaches a link for good, whoever else has it open or pinned. */
export function detachLink(linkFd: number): void {
  must(callLibbpf('int bpf_link_detach(int link)', linkFd), 'detach a link');
}

export interface XdpState {
  /** Program ids; 0: none. */
  readonly nativeProgramId: number;
  readonly genericProgramId: number;
}

/** What XDP programs an interface of this thread's namespace carries. */
export function queryXdp(ifindex: number): XdpState {
  const options = new DataView(new ArrayBuffer(32)); // struct bpf_xdp_query_opts: a size, four ids, a mode
  options.setBigUint64(0, 32n, true);
  const bytes = new Uint8Array(options.buffer);
  must(
    callLibbpf('int bpf_xdp_query(int ifindex, int flags, void *options)', ifindex, 0, bytes),
    `ask for the XDP program of interface ${ifindex}`,
  );
  return { nativeProgramId: options.getUint32(12, true), genericProgramId: options.getUint32(20, true) };
}

export const XDP_VERDICTS = ['aborted', 'drop', 'pass', 'tx', 'redirect'] as const;
export type XdpVerdict = (typeof XDP_VERDICTS)[number];

export interface RunResult {
  readonly verdict: XdpVerdict;
  /** The frame as the program left it: a copy. */
  readonly frame: Uint8Array;
  /** Average of a repetition, as the kernel measured it. */
  readonly durationNs: number;
}

export interface RunOptions {
  /** The interface (of this thread's namespace) that the frame seems to have come in on; default: the loopback. */
  readonly ingressIfindex?: number;
  /**
   * How often the program runs, each time on what the last run left; default 1. With more than one, a signal to this thread
   * makes all runs begin again on the frame as it was, so maps may have seen more of them.
   */
  readonly repeat?: number;
}

/** Room for encapsulation behind the longest frame. */
const OUTPUT_BYTES = 65536 + 256;
const XDP_MD_BYTES = 24;
/** The kernel stops repeated runs when a signal is pending (net/bpf/test_run.c). */
const EINTR = 4;
const RUN_ATTEMPTS = 100;
const runOutput = new Uint8Array(OUTPUT_BYTES);
const runContext = new DataView(new ArrayBuffer(XDP_MD_BYTES));
const runContextBytes = new Uint8Array(runContext.buffer);
const run = new DataView(new ArrayBuffer(80)); // struct bpf_test_run_opts
const runBytes = new Uint8Array(run.buffer);
const runOutputAddress = koffi.address(runOutput);
const runContextAddress = koffi.address(runContextBytes);
const TEST_RUN = 'int bpf_prog_test_run_opts(int program, void *options)';

/**
 * Runs an XDP program on a frame (14 bytes or more) without any interface. With `ingressIfindex` this thread must be in
 * that interface's namespace. About 3 us beside the program. The program sees real maps: counters count, entries are made.
 */
export function runProgram(programFd: number, frame: Uint8Array, options: RunOptions = {}): RunResult {
  runBytes.fill(0);
  run.setBigUint64(0, 80n, true);
  run.setBigUint64(8, koffi.address(frame), true);
  run.setBigUint64(16, runOutputAddress, true);
  run.setUint32(24, frame.length, true);
  run.setInt32(60, options.repeat ?? 1, true);
  if (options.ingressIfindex !== undefined) {
    // struct xdp_md: data 0, data_end the length, no metadata; then the interface and its queue 0.
    runContextBytes.fill(0);
    runContext.setUint32(4, frame.length, true);
    runContext.setUint32(12, options.ingressIfindex, true);
    run.setBigUint64(32, runContextAddress, true);
    run.setUint32(48, XDP_MD_BYTES, true);
  }
  for (let attempt = 1; ; attempt++) {
    run.setUint32(28, OUTPUT_BYTES, true); // the kernel overwrites it
    const result = callLibbpf(TEST_RUN, programFd, runBytes);
    if (result === -EINTR && attempt < RUN_ATTEMPTS) continue;
    must(result, `run program ${programFd} on a frame of ${frame.length} bytes`);
    break;
  }
  const returned = run.getUint32(56, true);
  const verdict = XDP_VERDICTS[returned];
  if (verdict === undefined) throw new Error(`program ${programFd} returned ${returned}, which is no XDP verdict`);
  return { verdict, frame: runOutput.slice(0, run.getUint32(28, true)), durationNs: run.getUint32(64, true) };
}

/** Frames go through the program as if they had come from the interface, and on to where it sends them (Linux 5.18). */
const LIVE_FRAMES = 2;
/** The kernel's default batch. */
const LIVE_BATCH = 64;

/**
 * Runs an XDP program on at most `repeat` live frames of the length of `frame`, in this context; a signal ends it early. This
 * thread is in the interface's namespace.
 */
export function runLiveFrames(
  programFd: number,
  frame: Uint8Array,
  options: { readonly ingressIfindex: number; readonly repeat: number },
): void {
  runBytes.fill(0);
  run.setBigUint64(0, 80n, true);
  run.setBigUint64(8, koffi.address(frame), true);
  run.setUint32(24, frame.length, true);
  runContextBytes.fill(0);
  runContext.setUint32(4, frame.length, true);
  runContext.setUint32(12, options.ingressIfindex, true);
  run.setBigUint64(32, runContextAddress, true);
  run.setUint32(48, XDP_MD_BYTES, true);
  run.setInt32(60, options.repeat, true);
  run.setUint32(64 + 4, LIVE_FRAMES, true);
  run.setUint32(64 + 12, LIVE_BATCH, true);
  const result = callLibbpf(TEST_RUN, programFd, runBytes);
  if (result !== -EINTR) must(result, `run program ${programFd} on live frames`);
}

/** Runs a program of type `syscall` once; gives what it returned (a C int). `context` is its argument, or empty. */
export function runSyscallProgram(programFd: number, context: Uint8Array = new Uint8Array(0)): number {
  runBytes.fill(0);
  run.setBigUint64(0, 80n, true);
  if (context.length > 0) {
    run.setBigUint64(32, koffi.address(context), true);
    run.setUint32(48, context.length, true);
  }
  must(callLibbpf(TEST_RUN, programFd, runBytes), `run program ${programFd}`);
  return run.getInt32(56, true);
}

/** The errno that the last libbpf function with a pointer for a result left. */
export function libbpfErrno(): number {
  return lastErrno();
}
