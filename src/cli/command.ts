/** What a command is to `main.ts`, and what all commands share: options, results, ways to fail. */

export interface CommandOption {
  /** `boolean`: a switch. `string`: takes a value. */
  readonly type: 'boolean' | 'string';
  /** One letter. */
  readonly short?: string;
  /** What stands for the value in the help: `FILE`, `ADDRESS`. */
  readonly placeholder?: string;
  readonly help: string;
}

/** What the command line said, after the command's name. */
export interface CommandArguments {
  readonly positionals: readonly string[];
  /** The last value of each option that was given. */
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  /** `--json` was given: print one JSON object, or one a line for streams, and nothing else on standard output. */
  readonly json: boolean;
}

/** One file in `src/cli` exports one as `command`; `main.ts` lists the files. */
export interface Command {
  readonly name: string;
  /** One line, lower case, without a full stop: stands in the list of commands. */
  readonly summary: string;
  /** What follows `portico NAME`: `FILE [--json]`. */
  readonly usage: string;
  /** A whole line that works: `./portico check examples/two-sites.yaml`. */
  readonly example: string;
  /** Besides `--json` and `--help`, which every command has. */
  readonly options: Readonly<Record<string, CommandOption>>;
  /** The exit status. Throws `UsageError` (status 2) or `CommandError` (status 1) with one sentence for the user. */
  run(args: CommandArguments): Promise<number>;
}

/** The command was called wrongly: exit status 2, with a pointer to the help. */
export class UsageError extends Error {}

/** The command could not do what it should, for a reason that the user can act on: exit status 1. */
export class CommandError extends Error {}

/** A string option's value, or `fallback`. */
export function stringOption(args: CommandArguments, name: string, fallback: string): string {
  const value = args.values[name];
  return typeof value === 'string' ? value : fallback;
}

/** One object for `--json`: a line on standard output. Big integers become strings, maps objects, sets arrays. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, plainJson)}\n`);
}

function plainJson(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  if (value === Number.POSITIVE_INFINITY) return null;
  return value;
}
