/** CPU time of the calling thread: unlike wall-clock time it does not run while others have the CPU. */
import koffi from 'koffi';

const clockGettime = koffi.load('libc.so.6').func('int clock_gettime(int clock, void *time)');
const CLOCK_THREAD_CPUTIME_ID = 3;

const time = new BigInt64Array(2);

/** Nanoseconds since the thread began; differences are exact to some 100 ns. */
export function threadTimeNs(): number {
  if (clockGettime(CLOCK_THREAD_CPUTIME_ID, time) !== 0) throw new Error('the CPU time of the thread cannot be read');
  return Number(time[0]) * 1e9 + Number(time[1]);
}
