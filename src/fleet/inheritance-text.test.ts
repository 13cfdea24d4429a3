import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Inheritance } from '../serve/vip/takeover.ts';
import { tellInheritance } from './inheritance-text.ts';

function told(inheritance: Inheritance | null): string[] {
  const lines: string[] = [];
  const say = (_: object, message: string) => void lines.push(message);
  tellInheritance({ info: say, warn: say, error: say }, { balancer: 'b1' }, inheritance);
  return lines;
}

test('a start says what it kept, what it migrated, and what is lost', () => {
  assert.deepEqual(told(null), []);
  assert.deepEqual(told({ kept: ['vips', 'backends'], migrated: [], forgotten: [] }), [
    'took over from the process before; every map is kept',
  ]);
  const migrated = [{ map: 'services', how: 'new: added' }];
  const forgotten = [{ map: 'fragments', lost: 'datagrams under way' }];
  assert.deepEqual(told({ kept: ['vips'], migrated, forgotten }), [
    'took over from another version: kept 1 maps, migrated services (new: added); fragments begins empty, lost are datagrams under way',
  ]);
});
