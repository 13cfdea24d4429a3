/** Errors of system calls: what was attempted, and the errno by name. */
import { constants } from 'node:os';

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]));
// Known to the kernel only (include/linux/errno.h), and met when a kernel lacks a feature.
names.set(524, 'ENOTSUPP');

/** What a user can do about it, where the name alone does not tell. */
const remedies: Record<string, string> = {
  EPERM: 'root is needed (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)',
  EOPNOTSUPP: 'not supported by the kernel or the device',
  ENOTSUPP: 'not supported by this kernel',
};

export interface SystemError extends Error {
  /** As in Node's own errors: `ENOENT`; `E` and the number when nobody knows a name. */
  readonly code: string;
  /** Positive, as in C. */
  readonly errno: number;
  /** What was attempted, in words: `open /sys/fs/bpf/x`. */
  readonly attempt: string;
}

/** Name of a positive errno. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}

/** `errno` is positive; `detail` is added in its own lines. */
export function systemError(attempt: string, errno: number, detail = ''): SystemError {
  const code = errnoName(errno);
  const remedy = remedies[code] === undefined ? '' : `: ${remedies[code]}`;
  const message = `${attempt}: ${code}${remedy}${detail === '' ? '' : `\n${detail}`}`;
  return Object.assign(new Error(message), { code, errno, attempt });
}

/** Whether `error` is a system error with this name; Node's own errors count too. */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === code;
}
