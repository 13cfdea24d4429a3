/** A disk for the virtual machine with this tree and Node, so that Portico itself can run on the stock kernel. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const TREE = join(import.meta.dirname, '../..');
const FOLDER = join(TREE, 'build/vm');
/** What the balancer's kernel side imports. */
const MODULES = ['koffi', '@koromix'];
const PARTS = ['package.json', 'src', 'test/interop', 'build/bpf'];
/** Where the machine finds the disk. */
export const MOUNTED = '/disk';

/** Folders of libraries are /disk/lib, the tree is /disk/app, Node is /disk/bin/node. Some 3 s. */
export function makeDisk(): string {
  const root = join(FOLDER, 'disk');
  const image = join(FOLDER, 'disk.img');
  rmSync(root, { recursive: true, force: true });
  for (const folder of ['bin', 'lib', 'app/node_modules']) mkdirSync(join(root, folder), { recursive: true });
  const node = realpathSync(process.execPath);
  cpSync(node, join(root, 'bin/node'));
  const libbpf = findLibrary('libbpf.so.1');
  for (const library of new Set([libbpf, ...librariesOf(libbpf), ...librariesOf(node)]))
    cpSync(realpathSync(library), join(root, 'lib', basename(library)));
  for (const part of PARTS) cpSync(join(TREE, part), join(root, 'app', part), { recursive: true });
  for (const name of MODULES)
    cpSync(realpathSync(join(TREE, 'node_modules', name)), join(root, 'app/node_modules', name), { recursive: true });
  rmSync(image, { force: true });
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-d', root, '-O', '^has_journal', image, '400M'], { stdio: 'pipe' });
  rmSync(root, { recursive: true, force: true });
  return image;
}

function librariesOf(program: string): string[] {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] as string);
}

function findLibrary(name: string): string {
  const text = execFileSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });
  const path = new RegExp(`${name} .*=> (/\\S+)`).exec(text)?.[1];
  if (path === undefined || !existsSync(path) || !statSync(dirname(path)).isDirectory()) throw new Error(`no ${name}`);
  return path;
}
