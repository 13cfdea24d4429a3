import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandHelp, readArguments, takePositionals } from './arguments.ts';
import { type Command, UsageError } from './command.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

function portico(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  return new Promise((settle) => {
    const child = execFile(process.execPath, [MAIN, ...args], (_error, stdout, stderr) => {
      settle({ status: child.exitCode ?? -1, stdout, stderr });
    });
  });
}

const drive: Command = {
  name: 'drive',
  summary: 'go somewhere',
  usage: 'FROM [TO] [--speed RATE]',
  example: './portico drive here there',
  options: {
    speed: { type: 'string', short: 's', placeholder: 'RATE', help: 'how fast' },
    force: { type: 'boolean', help: 'go anyway' },
  },
  run: async () => 0,
};

test('options and positional arguments are read in any order', () => {
  const args = readArguments(drive, ['--speed', '5', 'here', '--json', 'there', '--', '--force']);
  assert.deepEqual(args?.positionals, ['here', 'there', '--force']);
  assert.equal(args?.values.speed, '5');
  assert.equal(args?.values.force, undefined);
  assert.equal(args?.json, true);
  assert.equal(readArguments(drive, ['-h']), null);
  assert.deepEqual(takePositionals(readArguments(drive, ['a'])!, ['FROM', 'TO?']), ['a', undefined]);
});

test('wrong usage is told with what would be right', () => {
  const refused = (args: string[], message: RegExp) =>
    assert.throws(
      () => takePositionals(readArguments(drive, args)!, ['FROM', 'TO?']),
      (error: Error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, message);
        return true;
      },
    );
  refused(['--sped', '5', 'a'], /no option --sped; did you mean --speed\?$/);
  refused(['a', '--speed'], /--speed needs a value/);
  refused(['a', '--speed='], /--speed needs a value/);
  refused(['a', '--force=yes'], /--force takes no value/);
  refused(['--constructor', 'a'], /no option --constructor\.$/);
  refused([], /FROM is missing/);
  refused(['a', 'b', 'c'], /"c" is one argument too many/);
});

test("a command's help has usage, every option and the example", () => {
  const help = commandHelp(drive);
  for (const part of [
    'portico drive FROM [TO]',
    '-s, --speed RATE',
    '--force',
    '--json',
    '-h, --help',
    drive.example,
  ]) {
    assert.ok(help.includes(part), part);
  }
});

test('every command of the list loads, has its name, and shows an example', async () => {
  const { stdout } = await portico('--help');
  const names = [...stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name);
  assert.ok(names.length >= 10);
  for (const name of names) {
    const { command } = (await import(`./${name}.ts`)) as { command: Command };
    assert.equal(command.name, name);
    assert.match(command.example, new RegExp(`portico ${name}\\b`));
    assert.ok(command.summary.length > 0 && !command.summary.endsWith('.'));
  }
});

test('an unknown command gets the nearest one and status 2; none at all the list', async () => {
  assert.deepEqual(await portico('chekc'), {
    status: 2,
    stdout: '',
    stderr: 'portico: there is no command "chekc"; did you mean "check"?\n',
  });
  assert.match(
    (await portico('toString')).stderr,
    /there is no command "toString"; portico --help lists the commands\./,
  );
  const none = await portico();
  assert.equal(none.status, 2);
  assert.match(none.stderr, /Commands:/);
});

test('the version is told to people and to programs', async () => {
  assert.match((await portico('--version')).stdout, /^portico \d+\.\d+\.\d+\n$/);
  assert.match(JSON.parse((await portico('--version', '--json')).stdout).version, /^\d+\.\d+\.\d+$/);
});
