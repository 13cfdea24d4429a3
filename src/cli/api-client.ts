/** Calls of a running Portico's HTTP API, for the commands that ask it something. */
import { type CommandArguments, CommandError, type CommandOption, stringOption } from './command.ts';

const DEFAULT_API = 'http://127.0.0.1:7077';
const ANSWER_LIMIT_MS = 10_000;

export const API_OPTION: Readonly<Record<string, CommandOption>> = {
  api: { type: 'string', placeholder: 'URL', help: `address of the API (default ${DEFAULT_API})` },
};

/** Calls `path`; a body makes it a POST. Throws `CommandError` with what the API said, or that nothing answers there. */
export async function callApi<T>(args: CommandArguments, path: string, body?: unknown): Promise<T> {
  const response = await send(args, path, body, AbortSignal.timeout(ANSWER_LIMIT_MS));
  return readAnswer<T>(response);
}

/**
 * Sends `body` to `path` and gives the lines of the answer, JSON each, as they come, until the API ends it or `signal` does.
 * Throws like `callApi`.
 */
export async function* streamApi<T>(
  args: CommandArguments,
  path: string,
  body: unknown,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const response = await send(args, path, body, signal);
  if (!response.ok || response.body === null) await readAnswer<T>(response);
  const decoder = new TextDecoder();
  let text = '';
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      const lines = (text + decoder.decode(chunk, { stream: true })).split('\n');
      text = lines.pop() as string;
      for (const line of lines) yield JSON.parse(line) as T;
    }
  } catch (error) {
    if (!signal.aborted) throw new CommandError(`Portico ended the stream: ${(error as Error).message}.`);
  }
}

async function send(args: CommandArguments, path: string, body: unknown, signal: AbortSignal): Promise<Response> {
  const base = stringOption(args, 'api', process.env.PORTICO_API ?? DEFAULT_API);
  let url: URL;
  try {
    url = new URL(path, base);
  } catch {
    throw new CommandError(`"${base}" is not an address of an API; it should look like ${DEFAULT_API}.`);
  }
  try {
    return await fetch(url, {
      signal,
      ...(body === undefined
        ? {}
        : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
  } catch (error) {
    const reason = (error as Error).name === 'TimeoutError' ? 'does not answer in time' : 'does not answer';
    throw new CommandError(`Portico's API at ${url.origin} ${reason}; is "portico up FILE" running there?`);
  }
}

async function readAnswer<T>(response: Response): Promise<T> {
  const answer = (await response.json().catch(() => null)) as (T & { error?: string; remedy?: string }) | null;
  if (answer === null)
    throw new CommandError(
      `${new URL(response.url).origin} answered ${response.status} without JSON; is it Portico's API?`,
    );
  if (!response.ok)
    throw new CommandError([answer.error ?? `status ${response.status}`, answer.remedy].filter(Boolean).join('; '));
  return answer;
}
