/**
 * Names right before and after another in the order of RFC 4034 section 6.1, so that a denial covers no name but the one that it is about
 * (RFC 4470, RFC 4471). All names in lower case.
 */
import { MAX_LABEL_BYTES, MAX_NAME_BYTES, type Name } from '../wire/name.ts';
import { joinBytes } from '../wire/record-data.ts';

/** The next name in order: `\000` before it (RFC 9824 section 3.1), or what comes after when it is too long for that. */
export function nextName(name: Name): Name {
  if (name.length + 2 <= MAX_NAME_BYTES) return joinBytes([Uint8Array.of(1, 0), name], name.length + 2);
  return nameAfterSubtree(name);
}

/** The first name behind all that can be below `name`. Not for the root. */
export function nameAfterSubtree(name: Name): Name {
  const labelBytes = name[0];
  if (labelBytes < MAX_LABEL_BYTES && name.length < MAX_NAME_BYTES) {
    const longer = Uint8Array.of(labelBytes + 1, ...name.subarray(1, 1 + labelBytes), 0);
    return joinBytes([longer, name.subarray(1 + labelBytes)], name.length + 1);
  }
  let end = 1 + labelBytes;
  while (end > 1 && name[end - 1] === 0xff) end--;
  const rest = name.subarray(1 + labelBytes);
  if (end === 1) return nameAfterSubtree(rest);
  const label = name.slice(0, end);
  label[0] = end - 1;
  // Capitals count as small letters: between @ and [ there is nothing.
  label[end - 1] = label[end - 1] === 0x40 ? 0x5b : label[end - 1] + 1;
  return joinBytes([label, rest], end + rest.length);
}

/** A name before `name`, with nothing between them that a zone could have; its parent when nothing can come between. */
export function nameBefore(name: Name): Name {
  const labelBytes = name[0];
  const rest = name.subarray(1 + labelBytes);
  const last = name[labelBytes];
  if (last === 0) {
    if (labelBytes === 1) return rest;
    const label = name.slice(0, labelBytes);
    label[0] = labelBytes - 1;
    return deepestBelow(joinBytes([label, rest], label.length + rest.length));
  }
  const padding = Math.min(MAX_LABEL_BYTES - labelBytes, MAX_NAME_BYTES - name.length);
  const label = new Uint8Array(1 + labelBytes + padding).fill(0xff);
  label.set(name.subarray(0, 1 + labelBytes));
  label[0] = labelBytes + padding;
  label[labelBytes] = last === 0x5b ? 0x40 : last - 1;
  return joinBytes([label, rest], label.length + rest.length);
}

/** The last name that can be below another. */
function deepestBelow(name: Name): Name {
  let deepest = name;
  for (;;) {
    const bytes = Math.min(MAX_LABEL_BYTES, MAX_NAME_BYTES - deepest.length - 1);
    if (bytes < 1) return deepest;
    const label = new Uint8Array(1 + bytes).fill(0xff);
    label[0] = bytes;
    deepest = joinBytes([label, deepest], 1 + bytes + deepest.length);
  }
}
