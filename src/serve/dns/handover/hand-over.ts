/** Both ends of a restart: a server leaves its sockets to a caretaker, and its successor takes them from there. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { serialize } from 'node:v8';
import type { Config } from '../../../config/model.ts';
import type { SteeringView } from '../../../decide/steer/nearest.ts';
import { closeFd } from '../../vip/libc.ts';
import { SiteLayout } from '../shared-view.ts';
import { startInBackground } from '../thread-priority.ts';
import { connectTo, MAX_DESCRIPTORS, receiveDescriptors, sendDescriptors } from './descriptors.ts';
import { type Caretaking, type KeptSocket, TAKEN, withoutSharing } from './kept-sockets.ts';

/** For a successor to come. */
const WAIT_MS = 30_000;
const START_MS = 15_000;
const ANSWER_MS = 2_000;

export interface LeftServer {
  readonly config: Config;
  readonly serverName: string;
  readonly epoch: string;
  readonly view: SteeringView;
  readonly sockets: readonly (KeptSocket & { readonly fd: number })[];
}

/**
 * Starts a process that serves the sockets too, until a successor asks at `path`, or for `waitMs`. Resolves when it answers; rejects when
 * it cannot, and nothing has changed then.
 */
export async function leaveToCaretaker(left: LeftServer, path: string, waitMs = WAIT_MS): Promise<void> {
  if (left.sockets.length > MAX_DESCRIPTORS)
    throw new Error(`more than ${MAX_DESCRIPTORS} sockets cannot be handed on`);
  mkdirSync(dirname(path), { recursive: true });
  const { config, serverName, epoch, view } = left;
  const sites = new SiteLayout(config).pairs.map(({ service, site }) => ({
    service,
    site,
    state: [view.siteUp(service, site), view.siteFull(service, site), view.siteWasUp?.(service, site) ?? false],
  }));
  const sockets = left.sockets.map(({ kind, family, address, port }) => ({ kind, family, address, port }));
  const caretaking: Caretaking = { config: withoutSharing(config), serverName, epoch, sockets, sites, path, waitMs };
  const child = spawn(process.execPath, [new URL('./caretaker.ts', import.meta.url).pathname], {
    // A signal to the group of this process is not for it.
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore', ...left.sockets.map(({ fd }) => fd)],
  });
  if (child.pid !== undefined) startInBackground(child.pid);
  const [stdin, stdout] = [child.stdin, child.stdout];
  if (stdin === null || stdout === null) throw new Error('a caretaker has no pipes');
  stdin.on('error', () => undefined); // it has ended, which is seen below
  stdin.end(serialize(caretaking));
  const ended = once(child, 'exit').then(() => 'ended');
  const late = new Promise<string>((resolve) => setTimeout(resolve, START_MS, 'late').unref());
  const how = await Promise.race([once(stdout, 'data').then(() => 'ready'), ended, late]);
  if (how !== 'ready') {
    child.kill('SIGKILL');
    throw new Error(
      how === 'late' ? 'the caretaker of the sockets does not answer' : 'the caretaker of the sockets ended',
    );
  }
  stdout.destroy();
  child.unref();
}

export interface TakenSockets {
  readonly sockets: readonly (KeptSocket & { readonly fd: number })[];
  /** Once they are served: the caretaker ends. */
  taken(): void;
  /** They are not served after all. */
  giveUp(): void;
}

/** Null: there is no caretaker. Waits for up to two seconds. */
export function takeFromCaretaker(path: string): TakenSockets | null {
  const peer = connectTo(path);
  if (peer === null) return null;
  try {
    const received = receiveDescriptors(peer, ANSWER_MS);
    const kept = received === null ? [] : (JSON.parse(received.text) as KeptSocket[]);
    const sockets = kept.map((socket, index) => ({ ...socket, fd: received?.fds[index] ?? -1 }));
    if (sockets.length === 0 || sockets.some(({ fd }) => fd < 0)) throw new Error('no sockets came');
    return {
      sockets,
      taken() {
        sendDescriptors(peer, [], TAKEN);
        closeFd(peer);
      },
      giveUp() {
        for (const { fd } of sockets) closeFd(fd);
        closeFd(peer);
      },
    };
  } catch {
    closeFd(peer);
    return null;
  }
}

/** Ends the caretaker, if there is one: nobody comes after it. */
export function dismissCaretaker(path: string): boolean {
  const left = takeFromCaretaker(path);
  if (left === null) return false;
  left.taken();
  for (const { fd } of left.sockets) closeFd(fd);
  return true;
}
