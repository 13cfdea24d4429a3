/** What was asked for, or a sentence that says why not and one that says what would help. */
export type ApiResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: string; readonly remedy: string };
