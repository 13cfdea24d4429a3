/**
 * A small machine of Debian's stock kernel: kernel image and a root file system in memory, made from Debian packages
 * that are fetched on demand into build/vm and not installed.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type CpioEntry, writeCpio } from './cpio.ts';

const FOLDER = join(import.meta.dirname, '../../build/vm');
const ROOT = join(FOLDER, 'root');
const PACKAGES = [
  'linux-image-cloud-amd64',
  'busybox-static',
  'iproute2',
  'ipvsadm',
  'libnl-3-200',
  'libnl-genl-3-200',
  'libpopt0',
];

/** What tests need of the kernel that is not built in; what these depend on comes along. */
const MODULES = [
  'virtio_pci',
  'virtio_net',
  'virtio_blk',
  'ip_gre',
  'ip6_gre',
  'ipip',
  'sit',
  'ip6_tunnel',
  'fou',
  'fou6',
  'ip_vs',
  'ip_vs_mh',
  'ip_vs_rr',
  '8021q',
  'bonding',
  'dummy',
];

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
}

/** Why the machine cannot be had here; false: it can. */
export function cannotRunMachine(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  if (process.arch !== 'x64') return 'needs an x86-64 machine';
  if (!onPath('apt-get')) return 'needs a Debian system: takes its kernel from apt';
  return false;
}

function onPath(command: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return folders.map((folder) => join(folder, command)).find((path) => existsSync(path));
}

/** The emulator; installed when it is missing. */
export function findEmulator(): string {
  const found = onPath('qemu-system-x86_64');
  if (found !== undefined) return found;
  apt('install', '--yes', '--no-install-recommends', 'qemu-system-x86');
  const installed = onPath('qemu-system-x86_64');
  if (installed === undefined) throw new Error('apt installed qemu-system-x86, but there is no qemu-system-x86_64');
  return installed;
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    execFileSync('apt-get', ['-q', ...args], { cwd: FOLDER, env, stdio: ['ignore', 'ignore', 'pipe'] });
  } catch {
    execFileSync('apt-get', ['-q', 'update'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    execFileSync('apt-get', ['-q', ...args], { cwd: FOLDER, env, stdio: ['ignore', 'ignore', 'pipe'] });
  }
}

/** Makes the image, or gives the one that was made before. Some 20 s the first time. */
export function prepareImage(): Image {
  const image = { kernel: join(FOLDER, 'kernel'), initramfs: join(FOLDER, 'initramfs') };
  mkdirSync(ROOT, { recursive: true });
  if (!existsSync(image.kernel)) {
    fetchPackages();
    const [kernel] = globSync('boot/vmlinuz-*', { cwd: ROOT });
    if (kernel === undefined) throw new Error('the kernel package has no boot/vmlinuz-*');
    writeFileSync(image.kernel, readFileSync(join(ROOT, kernel)));
  }
  writeFileSync(image.initramfs, writeCpio(listEntries()));
  return image;
}

function fetchPackages(): void {
  rmSync(ROOT, { recursive: true, force: true });
  mkdirSync(ROOT, { recursive: true });
  // The package of the newest kernel only names the one that has it.
  const meta = execFileSync('apt-cache', ['depends', PACKAGES[0] as string], { encoding: 'utf8' });
  const kernel = /Depends: (linux-image-\S+)/.exec(meta)?.[1];
  if (kernel === undefined) throw new Error(`apt knows no kernel behind ${PACKAGES[0]}`);
  for (const old of globSync('*.deb', { cwd: FOLDER })) rmSync(join(FOLDER, old));
  apt('download', kernel, ...PACKAGES.slice(1));
  for (const file of globSync('*.deb', { cwd: FOLDER })) {
    execFileSync('dpkg-deb', ['--extract', join(FOLDER, file), ROOT]);
    rmSync(join(FOLDER, file));
  }
}

const NOTHING = new Uint8Array(0);

class Tree {
  readonly entries: CpioEntry[] = [];
  readonly #known = new Set<string>();

  folder(path: string): void {
    if (path === '.' || this.#known.has(path)) return;
    this.folder(dirname(path));
    this.#known.add(path);
    this.entries.push({ path, kind: 'folder', mode: 0o755, data: NOTHING });
  }

  file(path: string, data: Uint8Array | string, mode = 0o755): void {
    if (this.#known.has(path)) return;
    this.folder(dirname(path));
    this.#known.add(path);
    this.entries.push({ path, kind: 'file', mode, data: typeof data === 'string' ? Buffer.from(data) : data });
  }

  link(path: string, target: string): void {
    this.folder(dirname(path));
    this.entries.push({ path, kind: 'link', mode: 0o777, data: Buffer.from(target) });
  }

  /** A program with its libraries: those of the fetched packages, else those of this machine. */
  program(path: string, source: string): void {
    this.file(path, readFileSync(source));
    for (const library of librariesOf(source))
      this.file(`lib/${basename(library)}`, readFileSync(realpathSync(library)));
  }
}

function librariesOf(program: string): string[] {
  const libraries = [join(ROOT, 'usr/lib/x86_64-linux-gnu'), join(ROOT, 'lib/x86_64-linux-gnu')].join(':');
  const text = execFileSync('ldd', [program], {
    encoding: 'utf8',
    env: { ...process.env, LD_LIBRARY_PATH: libraries },
  });
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] as string);
}

/** A module's file by its name, and what it needs, from the text in the module itself. */
function moduleOrder(): string[] {
  const files = new Map(
    globSync('{lib,usr/lib}/modules/**/*.ko', { cwd: ROOT }).map((path) => [
      basename(path, '.ko').replaceAll('-', '_'),
      join(ROOT, path),
    ]),
  );
  const order: string[] = [];
  const visit = (name: string): void => {
    const path = files.get(name);
    if (path === undefined) return; // built into the kernel
    if (order.includes(path)) return;
    const needs = /(?:^|\0)depends=([^\0]*)\0/.exec(readFileSync(path, 'latin1'))?.[1] ?? '';
    for (const need of needs.split(',').filter((text) => text !== '')) visit(need.replaceAll('-', '_'));
    order.push(path);
  };
  for (const name of MODULES) visit(name);
  return order;
}

/** The first program: loads the modules, then does what comes over the second serial line, one command a line. */
const INIT = `#!/bin/sh
export PATH=/bin LD_LIBRARY_PATH=/lib
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
for module in $(cat /modules/order); do insmod /modules/$module; done
ip link set lo up
if [ -b /dev/vda ]; then mount -t ext4 -o ro,noload /dev/vda /disk; fi
stty -F /dev/ttyS1 raw -echo
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
echo '== ready'
while read -r line; do
	sh -c "$line" < /dev/null
	echo "== $?"
done
poweroff -f
`;

function listEntries(): CpioEntry[] {
  const tree = new Tree();
  for (const folder of ['proc', 'sys', 'dev', 'disk', 'tmp', 'run', 'var/run', 'www', 'etc']) tree.folder(folder);
  tree.file('bin/busybox', readFileSync(join(ROOT, 'bin/busybox')));
  const applets = execFileSync(join(ROOT, 'bin/busybox'), ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets) if (applet !== 'ip' && applet !== 'busybox') tree.link(`bin/${applet}`, 'busybox');
  tree.program('bin/ip', join(ROOT, 'bin/ip'));
  tree.program('bin/ipvsadm', join(ROOT, 'sbin/ipvsadm'));
  tree.link('lib64', 'lib');
  const order = moduleOrder();
  for (const path of order) tree.file(`modules/${basename(path)}`, readFileSync(path));
  tree.file('modules/order', `${order.map((path) => basename(path)).join('\n')}\n`);
  tree.file('init', INIT);
  return tree.entries;
}
