/**
 * The root program on the interfaces. All roles of an instance on this machine (balancer, DNS, backend) share one root and
 * its array `roles`; a role joins by putting its program there. Links are pinned, so attachment outlives the process; the
 * root of a new version takes over each link in place, without a gap.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import {
  createXdpLink,
  deleteElement,
  linkInfo,
  lookupElement,
  mapInfo,
  openPinned,
  pinObject,
  programFdById,
  queryXdp,
  updateElement,
  updateLink,
  type XdpMode,
} from './bpf.ts';
import { isErrno } from './errno.ts';
import { type ROLE, ROLE_NAMES } from './layout.gen.ts';
import { closeFd } from './libc.ts';
import { LayoutMismatch, REMEDY } from './maps.ts';
import { inNamespace, interfaceIndexIn } from './netns.ts';
import { BpfObject } from './object.ts';
import { listPins, removePin, removePins, replacePin } from './pins.ts';

export interface Attachment {
  readonly interfaceName: string;
  readonly ifindex: number;
  /** `native`: in the driver, before the kernel makes a packet of the frame. `generic`: after that, several times slower. */
  readonly mode: XdpMode;
  /** The link was there already and its program was exchanged. */
  readonly adopted: boolean;
  /** What the operator should know; null: nothing. */
  readonly note: string | null;
}

export type RoleIndex = (typeof ROLE)[keyof typeof ROLE];

/** What the kernel merges on receiving is too long to be sent on, and in generic mode it merges before the program runs. */
const MERGING = ['gro', 'lro'] as const;

/** Gives the note about generic mode. Inside the interface's namespace; an offload that the driver has fixed stays as it is. */
function stopMerging(name: string): string {
  const failed = MERGING.filter((offload) => {
    const { status } = spawnSync('ethtool', ['-K', name, offload, 'off'], { stdio: 'ignore', timeout: 5000 });
    return status !== 0;
  });
  const rest =
    failed.length === 0
      ? 'GRO and LRO were switched off'
      : `switch GRO and LRO off (${failed.join(' and ')} could not be: ethtool -K ${name} ${failed.map((one) => `${one} off`).join(' ')})`;
  return `generic XDP, several times slower than native: ${rest}, since merged packets cannot be forwarded`;
}

function roleKey(role: number): Uint8Array {
  return new Uint8Array(new Uint32Array([role]).buffer);
}

/** Descriptor of the program that a role has in the array `roles`; null: none. The caller's. */
export function runningProgram(rolesFd: number, role: number): number | null {
  const id = new Uint32Array(1);
  return lookupElement(rolesFd, roleKey(role), new Uint8Array(id.buffer)) ? programFdById(id[0]) : null;
}

function attachAnew(
  programFd: number,
  ifindex: number,
  name: string,
  nativeOnly: boolean,
): { fd: number; mode: XdpMode; reason: string } {
  const other = queryXdp(ifindex);
  if (other.nativeProgramId !== 0 || other.genericProgramId !== 0) {
    throw new Error(
      `interface ${name} carries XDP program ${other.nativeProgramId || other.genericProgramId} of somebody else (bpftool net show)`,
    );
  }
  try {
    return { fd: createXdpLink(programFd, ifindex, 'native'), mode: 'native', reason: '' };
  } catch (refusal) {
    if (nativeOnly || isErrno(refusal, 'EPERM')) throw refusal;
    const reason = (refusal as Error).message;
    try {
      return { fd: createXdpLink(programFd, ifindex, 'generic'), mode: 'generic', reason };
    } catch (error) {
      throw new Error(`interface ${name}: ${reason}; and ${(error as Error).message}`);
    }
  }
}

/** Attaches to one interface, or takes over its pinned link. Runs inside the interface's namespace. */
function attach(
  programFd: number,
  name: string,
  ifindex: number,
  pin: string | null,
  fds: number[],
  nativeOnly: boolean,
): Attachment {
  const pinned = pin === null ? null : openPinned(pin);
  if (pinned !== null) {
    // An interface that was deleted leaves a link to nothing; a new one of the same name has another index.
    if (linkInfo(pinned).ifindex === ifindex) {
      fds.push(pinned);
      updateLink(pinned, programFd);
      const mode = queryXdp(ifindex).nativeProgramId !== 0 ? 'native' : 'generic';
      return { interfaceName: name, ifindex, mode, adopted: true, note: mode === 'generic' ? stopMerging(name) : null };
    }
    closeFd(pinned);
    removePin(pin!);
  }
  const { fd, mode, reason } = attachAnew(programFd, ifindex, name, nativeOnly);
  fds.push(fd);
  if (pin !== null) pinObject(fd, pin);
  const note = mode === 'generic' ? `${stopMerging(name)}. Native refused: ${reason}` : null;
  return { interfaceName: name, ifindex, mode, adopted: false, note };
}

/** No dots in this file system, which VLANs have. */
export function linkPinName(interfaceName: string): string {
  return `link-${interfaceName.replaceAll('.', '_')}`;
}

function linkPin(folder: string, interfaceName: string): string {
  return join(folder, linkPinName(interfaceName));
}

export interface RootOptions {
  /** Null: the namespace of this process. */
  readonly netns: string | null;
  readonly interfaces: readonly string[];
  /** Folder of the pins; null: nothing is pinned, all goes with the process. */
  readonly folder: string | null;
  /** Folder of the compiled objects. */
  readonly objects: string;
  /** Rather fails than attaches generically. */
  readonly nativeOnly?: boolean;
}

/**
 * Loaded by the constructor, which adopts or creates `roles`. For a new role `join`, then `attach`, so that no packet meets a
 * root without a role; for one that is there the other way round, so that all that may fail comes before the exchange.
 * Whoever opened it closes it.
 */
export class Root {
  readonly #options: RootOptions;
  readonly #object: BpfObject;
  readonly #linkFds: number[] = [];

  constructor(options: RootOptions) {
    this.#options = options;
    this.#object = new BpfObject(join(options.objects, 'root.bpf.o'));
    try {
      const pin = options.folder === null ? null : join(options.folder, 'roles');
      const pinned = pin === null ? null : openPinned(pin);
      if (pinned !== null) {
        this.#object.reuseMap('roles', pinned);
        closeFd(pinned); // libbpf has its own
      }
      this.#object.load();
      if (pin !== null && pinned === null) pinObject(this.rolesFd, pin);
    } catch (error) {
      this.#object.close();
      throw error;
    }
  }

  get rolesFd(): number {
    return this.#object.mapFd('roles');
  }

  get programFd(): number {
    return this.#object.programFd('root');
  }

  /**
   * Puts a role's program into its place, or in place of its older version, between two packets; pins it. When `start` fails, the
   * older version is put back.
   */
  join(role: RoleIndex, programFd: number, start: () => void = () => {}): void {
    const places = mapInfo(this.rolesFd).maxEntries;
    if (role >= places) {
      throw new LayoutMismatch(`the version before knew ${places} roles, ${ROLE_NAMES[role]} is a new one. ${REMEDY}`);
    }
    const { folder } = this.#options;
    const put = (fd: number): void => {
      updateElement(this.rolesFd, roleKey(role), roleKey(fd));
      if (folder !== null) replacePin(fd, join(folder, ROLE_NAMES[role]));
    };
    const before = runningProgram(this.rolesFd, role);
    try {
      put(programFd);
      start();
    } catch (error) {
      if (before !== null) put(before);
      throw error;
    } finally {
      if (before !== null) closeFd(before);
    }
  }

  /**
   * Attaches to every interface, natively where the driver can, else generically, which the attachment's note tells. An
   * interface that carries somebody else's XDP program is refused. Links that are pinned already, also those of the
   * instance's other roles, get this version of root.
   */
  attach(): Attachment[] {
    const { folder, netns, nativeOnly = false } = this.#options;
    if (folder !== null) replacePin(this.programFd, join(folder, 'root'));
    const attachments: Attachment[] = [];
    for (const name of this.#options.interfaces) {
      const ifindex = interfaceIndexIn(netns, name);
      const pin = folder === null ? null : linkPin(folder, name);
      attachments.push(inNamespace(netns, () => attach(this.programFd, name, ifindex, pin, this.#linkFds, nativeOnly)));
    }
    if (folder !== null) this.#takeOverOthers(folder);
    return attachments;
  }

  #takeOverOthers(folder: string): void {
    const own = this.#options.interfaces.map((name) => linkPin(folder, name));
    for (const pin of listPins(folder)) {
      const path = join(folder, pin);
      if (!pin.startsWith('link-') || own.includes(path)) continue;
      const fd = openPinned(path);
      if (fd === null) continue;
      try {
        if (linkInfo(fd).ifindex === 0) removePin(path);
        else updateLink(fd, this.programFd);
      } finally {
        closeFd(fd);
      }
    }
  }

  /**
   * Takes a role out and removes its pin. When it was the last one, root is detached from all interfaces and every pin of the
   * instance goes; with other roles left, all interfaces stay attached and the pins of the role's maps are the caller's.
   */
  leave(role: RoleIndex): void {
    deleteElement(this.rolesFd, roleKey(role));
    const { folder } = this.#options;
    if (folder === null) return;
    removePin(join(folder, ROLE_NAMES[role]));
    const pins = listPins(folder);
    if (!ROLE_NAMES.some((name) => pins.includes(name))) removePins(folder);
  }

  /** Closes descriptors. What is pinned lives on; without pins the program is detached. */
  close(): void {
    for (const fd of this.#linkFds.splice(0)) closeFd(fd);
    this.#object.close();
  }
}
