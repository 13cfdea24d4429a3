/** Keys of `dns.beacons`: names made for one user each, which tell whose resolver asks for whom. */
import type { SchemaBuilder } from './fields.ts';
import { readEndpoint, readFilePath, readText } from './readers.ts';

const HTTP_PORT = 80;

export function beaconSchema(build: SchemaBuilder) {
  return build
    .object('names made for one user each, fetched by a page: they tell which resolver a user asks', {
      name: build.field(
        { type: 'string', description: 'names are NONCE under it', examples: ['b.example.test'] },
        (raw) => readText(raw, 200),
      ),
      listen: build.list(
        'where browsers fetch them',
        build.field({ type: 'string', description: 'ADDRESS or ADDRESS:PORT', examples: ['192.0.2.80:80'] }, (raw) =>
          readEndpoint(raw, HTTP_PORT),
        ),
        '[192.0.2.80]',
      ),
      certificate: build.optional(
        {
          type: 'string',
          description: 'file with a certificate for *.NAME; absent: plain HTTP',
          examples: ['/etc/portico/b.pem'],
        },
        readFilePath,
      ),
      key: build.optional(
        { type: 'string', description: 'file with its key', examples: ['/etc/portico/b.key'] },
        readFilePath,
      ),
    })
    .optional();
}
