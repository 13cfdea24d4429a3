/** The logs of commands that stay, on standard error. */
import { pino } from 'pino';
import type { Log } from '../fleet/log.ts';

/** Lines of JSON. */
export function openLog(level: 'info' | 'warn' | 'error'): Log {
  return pino({ level, base: null }, pino.destination({ dest: 2, sync: true }));
}

/** For people, among the lines of a command that says everything else itself: what went wrong, a plain line each. */
export function openPlainLog(write: (text: string) => void = (text) => void process.stderr.write(text)): Log {
  return { info: () => {}, warn: () => {}, error: (_fields, message) => write(`  log: ${message}\n`) };
}
