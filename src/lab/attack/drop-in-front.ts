/** Puts the program that only drops the attack in front of Portico's on a balancer: the control run. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openPinned, updateElement, updateLink } from '../../serve/vip/bpf.ts';
import { closeFd } from '../../serve/vip/libc.ts';
import { BpfObject } from '../../serve/vip/object.ts';
import { pinFolder } from '../../serve/vip/pins.ts';

const OBJECT = fileURLToPath(new URL('../../../build/bpf/drop.bpf.o', import.meta.url));

function word(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

function pinned(path: string): number {
  const fd = openPinned(path);
  if (fd === null) throw new Error(`lab: there is no ${path}`);
  return fd;
}

/** On the pinned link of the interface, until the function that it gives is called. Between two packets, both times. */
export function dropInFront(pins: string, interfaceName: string): () => void {
  const folder = pinFolder(pins);
  const root = pinned(join(folder, 'root'));
  const link = pinned(join(folder, `link-${interfaceName}`));
  const object = new BpfObject(OBJECT);
  object.load();
  updateElement(object.mapFd('next'), word(0), word(root));
  updateLink(link, object.programFd('drop'));
  return () => {
    updateLink(link, root);
    object.close();
    closeFd(link);
    closeFd(root);
  };
}
