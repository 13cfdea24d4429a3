/** A virtual machine with a stock kernel, in a network namespace of ours: commands go in and come back over a serial line. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnIn } from '../../src/lab/program.ts';
import { findEmulator, prepareImage } from './image.ts';

const BOOT_LIMIT_MS = 90_000;
const COMMAND_LIMIT_MS = 600_000;

export interface Guest {
  /** Output of a shell command; rejects with it when the command fails. */
  run(command: string): Promise<string>;
  /** Ends the machine. */
  stop(): Promise<void>;
}

/** Of the machine's interface ethN: 02:00:00:00:00:(64 + N). */
export const GUEST_MAC = 64;

function guestMac(number: number): string {
  return `02:00:00:00:00:${(GUEST_MAC + number).toString(16)}`;
}

/**
 * Boots a machine whose interfaces eth0, eth1 ... are the other ends of `taps`, TAP devices of the namespace; an image `disk`
 * (disk.ts) is mounted at /disk. Some 3 to 10 s.
 */
export async function startGuest(netns: string, taps: readonly string[], disk: string | null = null): Promise<Guest> {
  const image = prepareImage();
  const folder = mkdtempSync(join(tmpdir(), 'portico-vm-'));
  const socketPath = join(folder, 'commands');
  const networks = taps.flatMap((tap, number) => [
    '-netdev',
    `tap,id=n${number},ifname=${tap},script=no,downscript=no`,
    '-device',
    `virtio-net-pci,netdev=n${number},mac=${guestMac(number)},mrg_rxbuf=on,csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off,guest_ufo=off,host_tso4=off,host_tso6=off`,
  ]);
  const command = [
    findEmulator(),
    '-nographic',
    '-no-reboot',
    '-m',
    disk === null ? '384' : '1024',
    '-accel',
    'tcg',
    '-cpu',
    'max',
    '-kernel',
    image.kernel,
    '-initrd',
    image.initramfs,
    '-append',
    'console=ttyS0 panic=1 quiet net.ifnames=0',
    '-monitor',
    'none',
    '-serial',
    `file:${join(folder, 'console')}`,
    '-serial',
    `unix:${socketPath},server=on,wait=off`,
    ...networks,
    ...(disk === null ? [] : ['-drive', `file=${disk},format=raw,if=virtio,readonly=on`]),
  ];
  const machine = spawnIn(netns, command, ['ignore', 'pipe', 'pipe']);
  let said = '';
  machine.stdout?.on('data', (data: Buffer) => (said += data));
  machine.stderr?.on('data', (data: Buffer) => (said += data));
  const ended = once(machine, 'exit');
  const describe = (): string => `${said}\n${safeRead(join(folder, 'console')).slice(-2000)}`;
  let line: SerialLine;
  try {
    line = new SerialLine(await connectTo(socketPath));
    await line.until(/== ready\n/, BOOT_LIMIT_MS);
  } catch (error) {
    machine.kill('SIGKILL');
    throw new Error(`the virtual machine did not come up: ${(error as Error).message}\n${describe()}`);
  }
  return {
    run: async (text) => {
      line.send(`${text.replaceAll('\n', '; ')}\n`);
      const answer = await line.until(/(?:^|\n)== (\d+)\n/, COMMAND_LIMIT_MS);
      if (answer.status !== '0') throw new Error(`${text}: status ${answer.status}: ${answer.before.trim()}`);
      return answer.before;
    },
    stop: async () => {
      line.close();
      if (machine.exitCode === null && machine.signalCode === null) machine.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function safeRead(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function connectTo(path: string): Promise<Socket> {
  for (let attempt = 0; ; attempt++) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (attempt >= 100) throw error;
      await sleep(50); // until the emulator listens
    }
  }
}

class SerialLine {
  readonly #socket: Socket;
  #text = '';
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => {
      this.#text += data.toString().replaceAll('\r', '');
      this.#wake();
    });
    socket.on('error', () => this.#wake());
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /** What came before the pattern, and its first group. */
  async until(pattern: RegExp, limitMs: number): Promise<{ before: string; status: string }> {
    const end = performance.now() + limitMs;
    for (;;) {
      const match = pattern.exec(this.#text);
      if (match !== null) {
        const before = this.#text.slice(0, match.index);
        this.#text = this.#text.slice(match.index + match[0].length);
        return { before, status: match[1] ?? '' };
      }
      const left = end - performance.now();
      if (left <= 0 || this.#socket.destroyed) throw new Error(`no answer; so far: ${this.#text.slice(-500)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
