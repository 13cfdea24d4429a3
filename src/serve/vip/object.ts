/**
 * A compiled object (`build/bpf/x.bpf.o`): opened, its maps sized or replaced by existing ones, loaded. What libbpf prints
 * is captured; when the verifier refuses a program, the error ends with the last lines of its log.
 */
import koffi from 'koffi';
import { libbpf, libbpfErrno, type MapDefinition } from './bpf.ts';
import { systemError } from './errno.ts';
import { formatVariadic, type MappedMemory, mapMemory } from './libc.ts';

const LOG_LINES = 16;
const MESSAGE_BYTES = 4096;
/** libbpf's own limit of a verifier log is 16 MiB. */
const LOG_BYTES = 17 * 1024 * 1024;
const LEVEL_DEBUG = 2;

interface Functions {
  readonly open: (path: string, options: null) => bigint | null;
  readonly close: (object: bigint) => void;
  readonly load: (object: bigint) => number;
  readonly findMap: (object: bigint, name: string) => bigint | null;
  readonly findProgram: (object: bigint, name: string) => bigint | null;
  readonly nextMap: (object: bigint, map: bigint | null) => bigint | null;
  readonly mapName: (map: bigint) => string;
  readonly isInternal: (map: bigint) => boolean;
  readonly mapType: (map: bigint) => number;
  readonly keySize: (map: bigint) => number;
  readonly valueSize: (map: bigint) => number;
  readonly maxEntries: (map: bigint) => number;
  readonly mapFlags: (map: bigint) => number;
  readonly mapFd: (map: bigint) => number;
  readonly setMaxEntries: (map: bigint, entries: number) => number;
  readonly reuseFd: (map: bigint, fd: number) => number;
  readonly setPinPath: (map: bigint, path: string) => number;
  readonly setInnerMapFd: (map: bigint, fd: number) => number;
  readonly initialValue: (map: bigint, size: BigUint64Array) => bigint | null;
  readonly setAutoload: (program: bigint, load: boolean) => number;
  readonly programFd: (program: bigint) => number;
}

let functions: Functions | null = null;
/** What libbpf printed since the last `captured.length = 0`. */
const captured: string[] = [];

function bindings(): Functions {
  if (functions !== null) return functions;
  const library = libbpf();
  const print = koffi.proto('int PorticoLibbpfPrint(int level, void *format, void *list)');
  const callback = koffi.register((level: number, format: unknown, list: unknown): number => {
    if (level >= LEVEL_DEBUG) return 0;
    const isLog = (koffi.decode(format, 'char', 256) as string).includes('LOAD LOG');
    captured.push(formatVariadic(format, list, new Uint8Array(isLog ? LOG_BYTES : MESSAGE_BYTES)));
    return 0;
  }, koffi.pointer(print));
  library.func('void *libbpf_set_print(void *print)')(callback);
  functions = {
    open: library.func('void *bpf_object__open_file(const char *path, void *options)'),
    close: library.func('void bpf_object__close(void *object)'),
    load: library.func('int bpf_object__load(void *object)'),
    findMap: library.func('void *bpf_object__find_map_by_name(void *object, const char *name)'),
    findProgram: library.func('void *bpf_object__find_program_by_name(void *object, const char *name)'),
    nextMap: library.func('void *bpf_object__next_map(void *object, void *map)'),
    mapName: library.func('const char *bpf_map__name(void *map)'),
    isInternal: library.func('bool bpf_map__is_internal(void *map)'),
    mapType: library.func('int bpf_map__type(void *map)'),
    keySize: library.func('uint32_t bpf_map__key_size(void *map)'),
    valueSize: library.func('uint32_t bpf_map__value_size(void *map)'),
    maxEntries: library.func('uint32_t bpf_map__max_entries(void *map)'),
    mapFlags: library.func('uint32_t bpf_map__map_flags(void *map)'),
    mapFd: library.func('int bpf_map__fd(void *map)'),
    setMaxEntries: library.func('int bpf_map__set_max_entries(void *map, uint32_t entries)'),
    reuseFd: library.func('int bpf_map__reuse_fd(void *map, int fd)'),
    setPinPath: library.func('int bpf_map__set_pin_path(void *map, const char *path)'),
    setInnerMapFd: library.func('int bpf_map__set_inner_map_fd(void *map, int fd)'),
    initialValue: library.func('void *bpf_map__initial_value(void *map, void *size)'),
    setAutoload: library.func('int bpf_program__set_autoload(void *program, bool load)'),
    programFd: library.func('int bpf_program__fd(void *program)'),
  };
  return functions;
}

/** The end of what libbpf said: its own messages and the last lines of a verifier log, without the frame around it. */
export function summariseLog(messages: readonly string[]): string {
  const lines = messages
    .join('')
    .split('\n')
    .map((line) => line.replace(/^libbpf: /, '').trimEnd())
    .filter(
      (line) => line !== '' && !line.includes('LOAD LOG --') && !/^(processed|max_states|stack depth)/.test(line),
    );
  return lines.slice(-LOG_LINES).join('\n');
}

const OUTDATED = 'It was compiled from other sources than these: run scripts/build-bpf.sh.';

/** Open until `close`; maps and programs that others opened, pinned or attached live on. */
export class BpfObject {
  readonly path: string;
  readonly #memories: MappedMemory[] = [];
  #object: bigint | null;

  constructor(path: string) {
    this.path = path;
    captured.length = 0;
    this.#object = bindings().open(path, null);
    if (this.#object === null) throw systemError(`open object ${path}`, libbpfErrno(), summariseLog(captured));
  }

  get #handle(): bigint {
    if (this.#object === null) throw new Error(`object ${this.path} is closed`);
    return this.#object;
  }

  #map(name: string): bigint {
    const map = bindings().findMap(this.#handle, name);
    if (map === null) throw new Error(`${this.path} has no map ${name}. ${OUTDATED}`);
    return map;
  }

  #program(name: string): bigint {
    const program = bindings().findProgram(this.#handle, name);
    if (program === null) throw new Error(`${this.path} has no program ${name}. ${OUTDATED}`);
    return program;
  }

  #must(result: number, attempt: string): number {
    if (result < 0) throw systemError(`${attempt} of ${this.path}`, -result, summariseLog(captured));
    return result;
  }

  /** Names of the declared maps; those that libbpf makes of data sections are left out. */
  mapNames(): string[] {
    const { nextMap, isInternal, mapName } = bindings();
    const names: string[] = [];
    for (let map = nextMap(this.#handle, null); map !== null; map = nextMap(this.#handle, map)) {
      if (!isInternal(map)) names.push(mapName(map));
    }
    return names;
  }

  /** What the map is declared as, with the size that was set. */
  mapDefinition(name: string): MapDefinition {
    const { mapType, keySize, valueSize, maxEntries, mapFlags } = bindings();
    const map = this.#map(name);
    return {
      name,
      type: mapType(map),
      keySizeBytes: keySize(map),
      valueSizeBytes: valueSize(map),
      maxEntries: maxEntries(map),
      flags: mapFlags(map),
    };
  }

  /** Before `load`. */
  setMaxEntries(map: string, entries: number): void {
    this.#must(bindings().setMaxEntries(this.#map(map), entries), `size map ${map}`);
  }

  /** Before `load`: uses an existing map. libbpf duplicates the descriptor; the caller keeps its own. */
  reuseMap(map: string, fd: number): void {
    this.#must(bindings().reuseFd(this.#map(map), fd), `reuse map ${map}`);
  }

  /** Before `load`: libbpf opens the pin if it is there and makes it otherwise. */
  setPinPath(map: string, path: string): void {
    this.#must(bindings().setPinPath(this.#map(map), path), `set the pin of map ${map}`);
  }

  /** Before `load`: the template of a map of maps. */
  setInnerMap(map: string, fd: number): void {
    this.#must(bindings().setInnerMapFd(this.#map(map), fd), `set the inner map of ${map}`);
  }

  /** Before `load`: leaves a program out, or in. */
  setAutoload(program: string, load: boolean): void {
    this.#must(bindings().setAutoload(this.#program(program), load), `choose program ${program}`);
  }

  /** Before `load`: the contents of a data section's map (`.rodata`, `.data`, `.bss`), to be changed in place. */
  initialValue(map: string): Uint8Array {
    const size = new BigUint64Array(1);
    const address = bindings().initialValue(this.#map(map), size);
    if (address === null) throw new Error(`${this.path}: map ${map} has no initial value`);
    return new Uint8Array(koffi.view(address, Number(size[0])));
  }

  /** Creates the maps and loads the programs. Some 100 ms for the balancer: the verifier. */
  load(): void {
    captured.length = 0;
    this.#must(bindings().load(this.#handle), 'load');
  }

  /** After `load`. The descriptor is the object's: closed by `close`. */
  mapFd(name: string): number {
    return this.#must(bindings().mapFd(this.#map(name)), `open map ${name}`);
  }

  /** Memory of a mappable map, until `close`: who reads or writes it afterwards ends the process. */
  mappedMap(name: string, lengthBytes: number): ArrayBuffer {
    const memory = mapMemory(this.mapFd(name), lengthBytes, `map ${name}`);
    this.#memories.push(memory);
    return memory.buffer;
  }

  /** After `load`. The descriptor is the object's: closed by `close`. */
  programFd(name: string): number {
    return this.#must(bindings().programFd(this.#program(name)), `open program ${name}`);
  }

  close(): void {
    for (const memory of this.#memories.splice(0)) memory.unmap();
    if (this.#object === null) return;
    bindings().close(this.#object);
    this.#object = null;
  }
}
