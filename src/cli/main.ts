/** `portico COMMAND ...`: finds the command, reads its arguments, turns its end into an exit status. */
import { readFileSync } from 'node:fs';
import { nearestName } from '../config/nearest.ts';
import { commandHelp, readArguments } from './arguments.ts';
import { type Command, CommandError, UsageError } from './command.ts';

/**
 * Every command and its summary, in the order of the help. The file is `./NAME.ts`; it is loaded only when called, so that `check`
 * does not wait for the kernel's libraries.
 */
const COMMANDS: Readonly<Record<string, string>> = {
  check: 'validate a configuration',
  up: 'run the roles on this machine',
  down: 'take kernel programs, maps and addresses away',
  lab: 'a small internet on this machine, to try Portico in',
  drain: 'stop new work for a backend, balancer, site or name server',
  undrain: 'take a drain back',
  settle: "settle a service's slots that may be settled now",
  status: 'what runs, epoch, health',
  explain: 'why a packet or a DNS answer goes where it goes',
  steer: 'policies of DNS, pins, freeze, and what a changed file would move',
  plan: 'what a drain or another change would do, and how it came out',
  resolvers: 'resolvers that ask the name servers, and the demand behind them',
  dns: 'who asks the name servers most, and for what',
  dnssec: 'keys of signed zones: make, show, roll',
  capture: 'record live packets with what became of them',
  replay: 'run captured packets through the balancer',
  simulate: 'steering in a synthetic internet, scored by its truth',
  bench: 'benchmarks',
};

async function loadCommand(name: string): Promise<Command> {
  const module = (await import(`./${name}.ts`)) as { readonly command: Command };
  return module.command;
}

const VERSION_FILE = new URL('../../package.json', import.meta.url);

/** Runs the command line (without node and script) and gives the exit status. */
export async function runMain(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') return showHelp(name, rest);
  if (name === '--version' || name === '-V' || name === 'version') return showVersion(rest.includes('--json'));
  if (!Object.hasOwn(COMMANDS, name)) return refuseName(name);
  try {
    const command = await loadCommand(name);
    const read = readArguments(command, rest);
    if (read !== null) return await command.run(read);
    process.stdout.write(commandHelp(command));
    return 0;
  } catch (error) {
    return explainFailure(name, error);
  }
}

async function showHelp(name: string | undefined, rest: readonly string[]): Promise<number> {
  const topic = rest[0];
  if (name === 'help' && topic !== undefined) return runMain([topic, '--help']);
  const width = Math.max(...Object.keys(COMMANDS).map((command) => command.length));
  const lines = Object.entries(COMMANDS).map(([command, summary]) => `  ${command.padEnd(width + 2)}${summary}`);
  const text = [
    'portico: DNS that steers every client to the best site, and virtual IPs forwarded in the Linux kernel',
    '',
    'Usage: portico COMMAND [ARGUMENTS] [--json]',
    '',
    'Commands:',
    ...lines,
    '',
    'portico COMMAND --help tells about a command and gives an example; portico --version tells the version.',
    '',
  ].join('\n');
  // Without any argument the help is an answer to wrong usage.
  (name === undefined ? process.stderr : process.stdout).write(text);
  return name === undefined ? 2 : 0;
}

function showVersion(json: boolean): number {
  const { version } = JSON.parse(readFileSync(VERSION_FILE, 'utf8')) as { version: string };
  process.stdout.write(json ? `${JSON.stringify({ version })}\n` : `portico ${version}\n`);
  return 0;
}

function refuseName(name: string): number {
  const nearest = nearestName(name, Object.keys(COMMANDS));
  const hint = nearest === null ? 'portico --help lists the commands' : `did you mean "${nearest}"`;
  process.stderr.write(`portico: there is no command "${name}"; ${hint}${nearest === null ? '.' : '?'}\n`);
  return 2;
}

function explainFailure(name: string, error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`portico ${name}: ${error.message} See portico ${name} --help.\n`);
    return 2;
  }
  if (error instanceof CommandError) {
    process.stderr.write(`portico ${name}: ${error.message}\n`);
    return 1;
  }
  // A fault of ours: the place is of use to us, the sentence to the user.
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`portico ${name}: ${message.split('\n')[0]}\n`);
  if (process.env.PORTICO_DEBUG !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return 1;
}

if (import.meta.main) process.exitCode = await runMain(process.argv.slice(2));
