/** The log of commands that stay: lines of JSON on standard error. */
import { pino } from 'pino';
import type { Log } from '../fleet/log.ts';

export function openLog(level: 'info' | 'warn' | 'error'): Log {
  return pino({ level, base: null }, pino.destination({ dest: 2, sync: true }));
}
