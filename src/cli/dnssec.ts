/** `portico dnssec ACTION FILE [ZONE]`: keys of signed zones, and the steps in which one takes the place of another. */
import type { Config } from '../config/model.ts';
import { keyPath, readKeys, writeKeys } from '../serve/dns/dnssec/key-folder.ts';
import { dnssecRecords } from '../serve/dns/dnssec/key-records.ts';
import {
  firstKeys,
  ROLL_ACTIONS,
  type RollAction,
  type RollTimes,
  rollKeys,
  waitUntilMs,
  type ZoneKeys,
} from '../serve/dns/dnssec/key-roll.ts';
import { largestTtlSeconds } from '../serve/dns/dnssec/largest-ttl.ts';
import { dnskeyTtlSeconds } from '../serve/dns/dnssec/signed-zone.ts';
import { compileZones } from '../serve/dns/zone-compile.ts';
import { takePositionals } from './arguments.ts';
import { type Command, CommandError, printJson, stringOption, UsageError } from './command.ts';
import { loadConfig } from './configuration.ts';

const ACTIONS = ['generate', 'show', 'status', 'withdraw', 'restore', ...ROLL_ACTIONS] as const;
type Action = (typeof ACTIONS)[number];

export const command: Command = {
  name: 'dnssec',
  summary: 'keys of signed zones: make, show, roll',
  usage: `${ACTIONS.join('|')} FILE [ZONE] [--ds-ttl SECONDS] [--force] [--json]`,
  example: './portico dnssec generate examples/two-sites.yaml portico.example',
  options: {
    'ds-ttl': { type: 'string', placeholder: 'SECONDS', help: 'TTL of the DS records at the parent; default 86400' },
    force: { type: 'boolean', help: 'next step without waiting: caches will refuse answers for a while' },
  },
  async run(args) {
    const [action, file, zone] = takePositionals(args, ['ACTION', 'FILE', 'ZONE?']);
    if (!isAction(action)) throw new UsageError(`"${action}" is none of ${ACTIONS.join(', ')}.`);
    const config = loadConfig(file ?? '');
    const dsTtlSeconds = Number(stringOption(args, 'ds-ttl', '86400'));
    if (!Number.isInteger(dsTtlSeconds) || dsTtlSeconds < 0)
      throw new UsageError('--ds-ttl needs a number of seconds.');
    if (action === 'status' && zone === undefined) {
      const signed = config.zones.filter(({ isSigned }) => isSigned).map(({ name }) => name);
      for (const name of signed) tell(config, loadKeys(config, name), dsTtlSeconds, args.json);
      if (signed.length === 0 && !args.json) process.stdout.write('No zone has "dnssec: true".\n');
      return 0;
    }
    if (zone === undefined) throw new UsageError('ZONE is missing.');
    const name = zone.replace(/\.$/, '').toLowerCase();
    if (!config.zones.some((each) => each.name === name)) throw new CommandError(`${file} has no zone ${name}.`);
    const keys = change(action, config, name, dsTtlSeconds, args.values.force === true);
    if (action === 'show' && !args.json) process.stdout.write(dnssecRecords(keys, dsTtlSeconds));
    else tell(config, keys, dsTtlSeconds, args.json);
    return 0;
  },
};

function isAction(text: string | undefined): text is Action {
  return (ACTIONS as readonly (string | undefined)[]).includes(text);
}

/** What the zone's keys are after the action; written, if it changes them. */
function change(action: Action, config: Config, zone: string, dsTtlSeconds: number, force: boolean): ZoneKeys {
  const folder = config.dnsProtocol.dnssec.keyFolder;
  if (action === 'generate') {
    const read = readKeys(folder, zone);
    if (read.ok || !read.isMissing) throw new CommandError(`${zone} has a key file already: ${keyPath(folder, zone)}.`);
    return save(folder, firstKeys(zone, Date.now()));
  }
  const keys = loadKeys(config, zone);
  if (action === 'show' || action === 'status') return keys;
  if (action === 'withdraw' || action === 'restore')
    return save(folder, { ...keys, isWithdrawn: action === 'withdraw' });
  const result = rollKeys(keys, action satisfies RollAction, Date.now(), timesOf(config, zone, dsTtlSeconds), force);
  if (!result.ok) throw new CommandError(`${result.reason}.`);
  return save(folder, result.keys);
}

function save(folder: string, keys: ZoneKeys): ZoneKeys {
  try {
    writeKeys(folder, keys);
  } catch (error) {
    throw new CommandError(
      `${keyPath(folder, keys.zone)} cannot be written: ${(error as NodeJS.ErrnoException).code}.`,
    );
  }
  return keys;
}

function loadKeys(config: Config, zone: string): ZoneKeys {
  const read = readKeys(config.dnsProtocol.dnssec.keyFolder, zone);
  if (read.ok) return read.keys;
  const remedy = read.isMissing ? `; portico dnssec generate FILE ${zone} makes it` : '';
  throw new CommandError(`${read.path}: ${read.reason}${remedy}.`);
}

function timesOf(config: Config, zone: string, dsTtlSeconds: number): RollTimes {
  const compiled = compileZones(config);
  const own = compiled.ok ? compiled.zones.zones.find(({ text }) => text === zone) : undefined;
  if (!compiled.ok || own === undefined) throw new CommandError(`The zone ${zone} has problems: see portico check.`);
  return {
    dnskeyTtlSeconds: dnskeyTtlSeconds(own),
    largestTtlSeconds: largestTtlSeconds(own, compiled.zones),
    dsTtlSeconds,
  };
}

function tell(config: Config, keys: ZoneKeys, dsTtlSeconds: number, isJson: boolean): void {
  const untilMs = waitUntilMs(keys, timesOf(config, keys.zone, dsTtlSeconds));
  if (isJson) {
    const { zone, step, active, other, isWithdrawn } = keys;
    printJson({
      zone,
      step,
      since: new Date(keys.sinceMs).toISOString(),
      signs: active.tag,
      other: other?.tag ?? null,
      waitUntil: untilMs === null ? null : new Date(untilMs).toISOString(),
      isWithdrawn,
      next: nextStep(keys),
      ds: dnssecRecords(keys, dsTtlSeconds)
        .split('\n')
        .filter((line) => line.includes(' DS ')),
    });
    return;
  }
  const others = keys.other === null ? '' : `, beside key ${keys.other.tag}`;
  const lines = [`${keys.zone}: ${keys.step} since ${new Date(keys.sinceMs).toISOString()}`];
  lines.push(`  signs with key ${keys.active.tag}${others}`);
  if (untilMs !== null) {
    const isOver = Date.now() >= untilMs;
    lines.push(`  ${isOver ? 'waited long enough' : 'wait until'}: ${new Date(untilMs).toISOString()}`);
  }
  lines.push(...nextStep(keys).map((line) => `  ${line}`));
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** What the operator does next, and why not earlier. */
function nextStep(keys: ZoneKeys): string[] {
  const { zone, step, active, other, isWithdrawn } = keys;
  if (isWithdrawn) {
    return [
      'CDS asks the parent to take all DS records away. When they are gone, wait as long as their TTL, then write "dnssec: false".',
      `"portico dnssec restore FILE ${zone}" takes that back.`,
    ];
  }
  if (step === 'published') {
    return [
      `Both keys are in the DNSKEY set. When caches have it (the time above): portico dnssec switch FILE ${zone}`,
      `"portico dnssec cancel FILE ${zone}" takes the new key ${other?.tag} away again.`,
    ];
  }
  if (step === 'switched') {
    return [
      `Give the parent the DS record of key ${active.tag} in place of that of key ${other?.tag} (portico dnssec show FILE ${zone}).`,
      `When all of the parent's servers have it: portico dnssec ds FILE ${zone}`,
    ];
  }
  if (step === 'retiring') {
    return [
      `When caches forgot the old DS and what key ${other?.tag} signed (the time above): portico dnssec finish FILE ${zone}`,
    ];
  }
  return [
    `Put the key file on all name servers of the zone, and "dnssec: true" into the configuration.`,
    'Wait until caches forgot what was unsigned: the time above, counted from when all servers sign.',
    `Then give the parent the DS record: portico dnssec show FILE ${zone}`,
  ];
}
