/** Where the roles say what they do: fields for programs, a sentence for people. pino's interface. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
