/** iproute2's `ip`, run inside a network namespace without the 5 ms of `ip netns exec`. */
import { execFile } from 'node:child_process';
import { inNamespace } from './netns.ts';

/** Long: on a busy machine the process waits for its turn, and our own clock runs on while this thread is held up. */
const TIMEOUT_MS = 20_000;

/** Runs `ip ARGS` in a namespace (null: here); gives what it wrote, or rejects with what it complained of. */
export function runIp(netns: string | null, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    // The child is started before inNamespace returns, so it lives inside.
    inNamespace(netns, () => {
      execFile('ip', args, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
        const where = netns === null ? '' : ` in namespace ${netns}`;
        if (error !== null) reject(new Error(`ip ${args.join(' ')}${where}: ${stderr.trim() || error.message}`));
        else resolve(stdout);
      });
    });
  });
}

/** As `runIp` with `-j`: the elements of the answer; an empty answer is an empty list. */
export async function askIp<T>(netns: string | null, args: readonly string[]): Promise<T[]> {
  const text = (await runIp(netns, ['-j', ...args])).trim();
  return text === '' ? [] : (JSON.parse(text) as T[]);
}
