/**
 * Constants and enums of `bpf/layout.h`, from its text: BTF keeps neither macros nor enums that no variable has for a type.
 * Understands what the header uses: `#define NAME number` and `enum name { A, B = 3, ... }`.
 */

export interface HeaderEnum {
  readonly name: string;
  readonly entries: readonly { readonly name: string; readonly value: number }[];
}

export interface Header {
  readonly constants: readonly { readonly name: string; readonly value: number }[];
  readonly enums: readonly HeaderEnum[];
  /** Names of all structs that the header defines. */
  readonly structs: readonly string[];
}

export function readHeader(text: string): Header {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, ' ');
  const constants: { name: string; value: number }[] = [];
  for (const [, name, value] of code.matchAll(/^#define +([A-Z][A-Z0-9_]*)[ \t]+(.*\S)[ \t]*$/gm)) {
    if (!/^(0x[0-9a-fA-F]+|[0-9]+)$/.test(value)) throw new Error(`layout.h: ${name}: ${value} is not a plain number`);
    constants.push({ name, value: Number(value) });
  }
  const enums: HeaderEnum[] = [];
  for (const [, name, body] of code.matchAll(/^enum +(\w+)\s*\{([^}]*)\}/gm)) {
    const entries: { name: string; value: number }[] = [];
    let next = 0;
    for (const part of body.split(',')) {
      const entry = part.trim();
      if (entry === '') continue;
      const match = /^([A-Z][A-Z0-9_]*)(?:\s*=\s*([0-9]+))?$/.exec(entry);
      if (match === null) throw new Error(`layout.h: enum ${name}: cannot read "${entry}"`);
      if (match[2] !== undefined) next = Number(match[2]);
      entries.push({ name: match[1], value: next });
      next++;
    }
    enums.push({ name, entries });
  }
  const structs = [...code.matchAll(/^struct +(\w+)\s*\{/gm)].map((match) => match[1]);
  return { constants, enums, structs };
}
