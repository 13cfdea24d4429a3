/** The command line, read by `node:util`'s parser; its errors become one sentence that names the right option. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { nearestName } from '../config/nearest.ts';
import { type Command, type CommandArguments, UsageError } from './command.ts';

const COMMON = {
  json: { type: 'boolean', help: 'print JSON for programs' },
  help: { type: 'boolean', short: 'h', help: 'show this help' },
} as const satisfies Command['options'];

/** Reads what follows the command's name. Null: help was asked for. Throws `UsageError`. */
export function readArguments(command: Command, args: readonly string[]): CommandArguments | null {
  const options: Command['options'] = { ...command.options, ...COMMON };
  const config: ParseArgsConfig = { args: [...args], allowPositionals: true, strict: false, tokens: true, options: {} };
  for (const [name, option] of Object.entries(options)) {
    config.options![name] = { type: option.type, ...(option.short === undefined ? {} : { short: option.short }) };
  }
  const { values, positionals, tokens = [] } = parseArgs(config);
  if (values.help === true) return null;
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    if (option === undefined) throw unknownOption(token.rawName, Object.keys(options));
    if (option.type === 'string' && (token.value === undefined || token.value === '')) {
      throw new UsageError(`${token.rawName} needs a value.`);
    }
    if (option.type === 'boolean' && token.value !== undefined) {
      throw new UsageError(`${token.rawName} takes no value, but was given "${token.value}".`);
    }
  }
  return { positionals, values: values as CommandArguments['values'], json: values.json === true };
}

function unknownOption(given: string, known: readonly string[]): UsageError {
  const nearest = nearestName(given.replace(/^-+/, ''), known);
  return new UsageError(
    `There is no option ${given}${nearest === null ? '' : `; did you mean --${nearest}?`}.`.replace('?.', '?'),
  );
}

/** The text of `portico NAME --help`. */
export function commandHelp(command: Command): string {
  const lines = Object.entries({ ...command.options, ...COMMON }).map(
    ([name, option]: [string, Command['options'][string]]) => {
      const long = option.type === 'string' ? `--${name} ${option.placeholder ?? 'VALUE'}` : `--${name}`;
      return `  ${option.short === undefined ? '    ' : `-${option.short}, `}${long.padEnd(24)} ${option.help}`;
    },
  );
  return [
    `portico ${command.name}: ${command.summary}`,
    '',
    `Usage: portico ${command.name} ${command.usage}`,
    '',
    'Options:',
    ...lines,
    '',
    'Example:',
    `  ${command.example}`,
    '',
  ].join('\n');
}

/** The positional arguments, each with a name for the error. `names` ending with `?` may be missing. Throws `UsageError`. */
export function takePositionals(args: CommandArguments, names: readonly string[]): (string | undefined)[] {
  const { positionals } = args;
  for (const [index, name] of names.entries()) {
    if (positionals[index] === undefined && !name.endsWith('?')) throw new UsageError(`${name} is missing.`);
  }
  if (positionals.length > names.length)
    throw new UsageError(`"${positionals[names.length]}" is one argument too many.`);
  return names.map((_, index) => positionals[index]);
}
