import type { Runtime } from './runtime.ts';
export function explainFlow(_runtime: Runtime, _query: object): { ok: false; error: string; remedy: string } {
  return { ok: false, error: 'not yet', remedy: '' };
}
