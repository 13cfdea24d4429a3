/** Reads Markdown as far as the checks of the documents need: code blocks, commands, links. */

export interface CodeBlock {
  /** What stands after the opening fence: `sh`, `yaml`, `text`. */
  readonly language: string;
  readonly text: string;
  readonly line: number;
}

export function codeBlocks(markdown: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  const lines = markdown.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const fence = /^(\s*)(`{3,})([\w-]*)/.exec(lines[at] as string);
    if (fence === null) continue;
    const begin = at + 1;
    while (at + 1 < lines.length && !(lines[at + 1] as string).trim().startsWith(fence[2] as string)) at++;
    blocks.push({ language: fence[3] as string, text: `${lines.slice(begin, at + 1).join('\n')}\n`, line: begin + 1 });
    at++;
  }
  return blocks;
}

/** Names that the text calls: scripts of npm and commands of `portico`, in code blocks and in inline code. */
export function calledCommands(markdown: string): { readonly npm: Set<string>; readonly portico: Set<string> } {
  const npm = new Set<string>();
  const portico = new Set<string>();
  const inline = [...markdown.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] as string);
  for (const code of [...codeBlocks(markdown).map(({ text }) => text), ...inline]) {
    for (const match of code.matchAll(/\bnpm (?:run )?([\w:-]+)/g)) npm.add(match[1] as string);
    for (const match of code.matchAll(/(?:\.\/|npx )portico ([a-z][\w-]*)/g)) portico.add(match[1] as string);
  }
  return { npm, portico };
}

/** Targets of links and pictures that lie in the repository, without their anchors. */
export function localLinks(markdown: string): string[] {
  const text = markdown.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
  const links = [...text.matchAll(/\]\(([^)\s]+)\)|\b(?:src|srcset|href)="([^"]+)"/g)].map(
    (match) => match[1] ?? match[2],
  );
  return links
    .filter((link): link is string => link !== undefined && !/^(https?:|mailto:|#)/.test(link))
    .map((link) => link.replace(/#.*$/, ''));
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly items?: SchemaNode;
  readonly default?: unknown;
}

/** The keys of a JSON Schema, each with its default as Markdown writes it; null: none, or a map or list. */
export function schemaKeys(schema: SchemaNode): { readonly key: string; readonly fallback: string | null }[] {
  const below = [schema.items, schema.additionalProperties].flatMap((node) =>
    typeof node === 'object' ? schemaKeys(node) : [],
  );
  const own = Object.entries(schema.properties ?? {}).flatMap(([key, node]) => [
    { key, fallback: typeof node.default === 'object' || node.default === undefined ? null : `\`${node.default}\`` },
    ...schemaKeys(node),
  ]);
  return [...own, ...below];
}

/** Whether the first cell of a table's row names the key, alone or as the last part of a path, or an example shows it. */
export function namesKey(row: string, key: string): boolean {
  return new RegExp(`(\`([\\w.]+\\.)?${key}(\\.\\w+)?\`|\\{ ${key}: |, ${key}: )`).test(row);
}
