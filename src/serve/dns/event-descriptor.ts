/** A descriptor that becomes readable when it is rung, and stays so: wakes threads that wait for sockets (eventfd(2)). */
import koffi from 'koffi';
import { check, closeFd } from '../vip/libc.ts';

const libc = koffi.load('libc.so.6');
const cEventfd = libc.func('int eventfd(unsigned int value, int flags)');
const cWrite = libc.func('long write(int fd, void *bytes, size_t length)');

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

export class EventDescriptor {
  readonly fd = check(cEventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'make an event descriptor');

  ring(): void {
    cWrite(this.fd, BigUint64Array.of(1n), 8);
  }

  close(): void {
    closeFd(this.fd);
  }
}
