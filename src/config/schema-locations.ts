/** The shape of what says where clients are, in files beside the operator's. */
import type { SchemaBuilder } from './fields.ts';
import { readFilePath } from './readers.ts';

export function locationFilesShape(build: SchemaBuilder) {
  const file = (description: string, example: string) => ({
    note: { type: 'string', description, examples: [example] },
    read: readFilePath,
  });
  const list = file('from the folder of this file, or absolute', 'networks.csv');
  const database = (description: string, example: string) => {
    const { note, read } = file(description, example);
    return build.optional(note, read);
  };
  return {
    networkLists: build
      .list(
        'files with more networks, a line each: PREFIX, SITE or PREFIX, LATITUDE, LONGITUDE; then the demand if it is known',
        build.field(list.note, list.read),
        '[networks.csv]',
      )
      .optional(),
    geo: build.optionalObject('location databases (MMDB files), for clients of whom no network says more', {
      city: database('tells places, countries and continents', 'GeoLite2-City.mmdb'),
      country: database('tells countries and continents', 'GeoLite2-Country.mmdb'),
      asn: database('tells autonomous systems', 'GeoLite2-ASN.mmdb'),
    }),
  };
}
