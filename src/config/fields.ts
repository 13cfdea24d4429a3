/**
 * Building blocks of the schema. A field is one value of the file: how to read it, and what editors show about it. A schema is
 * built in one of two modes: `strict` finds every problem; `loose` never fails and gives undefined for what is wrong, so that
 * the checks across the file can go on with the rest. Zod does structure, unknown keys and JSON Schema; the readers the values.
 */
import { z } from 'zod';
import type { Reading } from './units.ts';

export type SchemaMode = 'strict' | 'loose';

/** What editors show: JSON Schema keywords. The first example also stands in "add it" remedies. */
export interface FieldNote {
  readonly description: string;
  readonly examples: readonly unknown[];
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
}

export const DURATION_NOTE = { type: 'string', pattern: '^[0-9.]+ ?(ms|s|m|h|d)$' } as const;

/** What a field's issue carries besides its message. */
export interface IssueNotes {
  readonly remedy: string;
  readonly example: unknown;
}

type Shape = Record<string, z.ZodType>;
type ShapeOutput<S extends Shape> = { readonly [K in keyof S]: z.output<S[K]> };

export interface SchemaBuilder {
  /** A value that has to be there. */
  field<T>(note: FieldNote, read: (raw: unknown) => Reading<T>): z.ZodType<T | undefined>;
  /** A value that is read from `fallback` where the file has none; without one it is undefined. */
  optional<T>(note: FieldNote, read: (raw: unknown) => Reading<T>, fallback?: unknown): z.ZodType<T | undefined>;
  /** A map with these keys and no others. `example` is for whoever leaves it out. */
  object<S extends Shape>(description: string, shape: S, example?: string): z.ZodType<ShapeOutput<S> | undefined>;
  /** As `object`; where the file has none, one with all its defaults. */
  optionalObject<S extends Shape>(description: string, shape: S): z.ZodType<ShapeOutput<S> | undefined>;
  /** A map from names to entries. A required one has an example for whoever leaves it out. */
  names<T>(
    description: string,
    entry: z.ZodType<T>,
    example: string | null,
  ): z.ZodType<Readonly<Record<string, T>> | undefined>;
  /** A list of at least one entry. */
  list<T>(description: string, entry: z.ZodType<T>, example: string): z.ZodType<readonly T[] | undefined>;
}

export function createSchemaBuilder(mode: SchemaMode): SchemaBuilder {
  const guard = <T>(schema: z.ZodType<T>): z.ZodType<T | undefined> =>
    mode === 'loose' ? (schema.catch(undefined as T) as z.ZodType<T | undefined>) : schema;
  return {
    field: (note, read) => guard(leaf(note, read)),
    optional(note, read, fallback) {
      const schema = leaf(note, read);
      return guard(fallback === undefined ? schema.optional() : schema.prefault(fallback));
    },
    object: (description, shape, example = '') => guard(shapedObject(mode, description, shape, example)),
    optionalObject: (description, shape) => guard(shapedObject(mode, description, shape, '').prefault({} as never)),
    names(description, entry, example) {
      const schema = z.record(z.string(), entry, { error: () => example ?? '' }).meta({ description });
      return guard(example === null ? schema.prefault({}) : schema);
    },
    list: (description, entry, example) =>
      guard(
        z
          .array(entry, { error: () => example })
          .min(1)
          .meta({ description }),
      ),
  };
}

function leaf<T>(note: FieldNote, read: (raw: unknown) => Reading<T>): z.ZodType<T> {
  return z
    .any()
    .meta({ ...note })
    .transform((raw, context): T => {
      const reading = read(raw);
      if (reading.ok) return reading.value;
      const params: IssueNotes = { remedy: reading.remedy, example: note.examples[0] };
      context.addIssue({ code: 'custom', message: reading.message, params: { ...params } });
      return z.NEVER;
    });
}

function shapedObject<S extends Shape>(
  mode: SchemaMode,
  description: string,
  shape: S,
  example: string,
): z.ZodType<ShapeOutput<S>> {
  // The problem is worded in issues.ts: the message of an unknown key lists the known ones, others are the example.
  const error = (issue: { code?: string }) => {
    return issue.code === 'unrecognized_keys' ? Object.keys(shape).join(' ') : example;
  };
  const schema = mode === 'loose' ? z.object(shape) : z.strictObject(shape, { error });
  return schema.meta({ description }) as unknown as z.ZodType<ShapeOutput<S>>;
}
