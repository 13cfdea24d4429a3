/**
 * Longest-prefix match that also tells how widely its answer holds. DNS answers by client prefix (RFC 7871) are cached for the
 * scope that the answer names, so a scope may be neither wider than the answer is true nor overlap another's: the scope
 * of an address is the shortest prefix of it under which every address has the same value.
 *
 * The oracle of `prefix-map.ts` in tests.
 */
import { type Address, addressBits, type Prefix } from './address.ts';

export interface PrefixMatch<V> {
  /** Null: no prefix of the list covers the address (for a short source: has anything to do with it). */
  readonly value: V | null;
  /** Length of the longest prefix that covers the query; -1: none. */
  readonly matchedLength: number;
  /** The answer holds for every address that shares this many first bits with the query. */
  readonly scopeLength: number;
}

export interface PrefixTrie<V> {
  /**
   * `sourceLength` (default: all bits) is how many bits of `address` are known; the others are not looked at. When they do not
   * suffice, the value is the one that holds for the most addresses under them, unlisted addresses not counted (the first
   * listed wins a tie), and the scope is the source. Cost: at most 32 or 128 steps, no allocation but the result.
   */
  lookup(address: Address, sourceLength?: number): PrefixMatch<V>;
}

/** Nothing is listed here: an index beside those of values. */
const UNLISTED = -1;
const MIXED = -2;

/** Binary trie in flat arrays; node 0 is unused, so that 0 means "no child". */
interface Nodes {
  count: number;
  child: Int32Array; // [node * 2 + bit]
  own: Int32Array; // index of the value listed at exactly this prefix, or UNLISTED
  uniform: Int32Array; // index of the value of all addresses beneath, UNLISTED, or MIXED
  dominant: Int32Array; // where MIXED: index of the value of most listed addresses beneath
}

/**
 * Compiles a list of prefixes. Of two entries with the same prefix the later counts. Values are equal when `keyOf` gives equal
 * keys (as in a Map). Cost: about one node of 20 bytes for each bit that a prefix does not share with others.
 */
export function buildTrie<V>(
  entries: Iterable<{ readonly prefix: Prefix; readonly value: V }>,
  keyOf: (value: V) => unknown = (value) => value,
): PrefixTrie<V> {
  const values: V[] = [];
  const indexOfKey = new Map<unknown, number>();
  const nodes = createNodes();
  const roots = { 4: addNode(nodes), 6: addNode(nodes) };
  for (const { prefix, value } of entries) {
    const key = keyOf(value);
    let index = indexOfKey.get(key);
    if (index === undefined) {
      index = values.push(value) - 1;
      indexOfKey.set(key, index);
    }
    const node = insertPath(nodes, roots[prefix.address.family], prefix); // may replace the arrays
    nodes.own[node] = index;
  }
  summarize(nodes, roots[4], UNLISTED);
  summarize(nodes, roots[6], UNLISTED);
  return {
    lookup(address, sourceLength = addressBits(address.family)) {
      const found = walk(nodes, roots[address.family], address, sourceLength);
      const value = found.index < 0 ? null : values[found.index];
      return { value, matchedLength: found.matchedLength, scopeLength: found.scopeLength };
    },
  };
}

function createNodes(): Nodes {
  const array = (length: number) => new Int32Array(length);
  return { count: 1, child: array(512), own: array(256), uniform: array(256), dominant: array(256) };
}

function addNode(nodes: Nodes): number {
  if (nodes.count === nodes.own.length) {
    for (const name of ['child', 'own', 'uniform', 'dominant'] as const) {
      const larger = new Int32Array(nodes[name].length * 2);
      larger.set(nodes[name]);
      nodes[name] = larger;
    }
  }
  nodes.own[nodes.count] = UNLISTED;
  return nodes.count++;
}

function bitAt(bytes: Uint8Array, position: number): number {
  return (bytes[position >> 3] >> (7 - (position & 7))) & 1;
}

function insertPath(nodes: Nodes, root: number, prefix: Prefix): number {
  let node = root;
  for (let depth = 0; depth < prefix.length; depth++) {
    const place = node * 2 + bitAt(prefix.address.bytes, depth);
    if (nodes.child[place] === 0) {
      const added = addNode(nodes); // may replace the arrays
      nodes.child[place] = added;
    }
    node = nodes.child[place];
  }
  return node;
}

/** Fills `uniform` and `dominant` beneath a node; returns each listed value's share of the node's addresses. */
function summarize(nodes: Nodes, node: number, inherited: number): Map<number, number> {
  if (node === 0) return inherited === UNLISTED ? new Map() : new Map([[inherited, 1]]);
  const own = nodes.own[node] === UNLISTED ? inherited : nodes.own[node];
  const [left, right] = [nodes.child[node * 2], nodes.child[node * 2 + 1]];
  const shares = addHalves(summarize(nodes, left, own), summarize(nodes, right, own));
  const leftUniform = left === 0 ? own : nodes.uniform[left];
  const rightUniform = right === 0 ? own : nodes.uniform[right];
  nodes.uniform[node] = leftUniform === rightUniform ? leftUniform : MIXED;
  let dominant = UNLISTED;
  let largest = 0;
  for (const [index, share] of shares) {
    if (share > largest || (share === largest && index < dominant)) {
      dominant = index;
      largest = share;
    }
  }
  nodes.dominant[node] = dominant;
  return shares;
}

function addHalves(left: Map<number, number>, right: Map<number, number>): Map<number, number> {
  const [into, from] = left.size >= right.size ? [left, right] : [right, left];
  for (const [index, share] of into) into.set(index, share / 2);
  for (const [index, share] of from) into.set(index, (into.get(index) ?? 0) + share / 2);
  return into;
}

function walk(nodes: Nodes, root: number, address: Address, sourceLength: number) {
  let node = root;
  let listed = UNLISTED;
  let matchedLength = -1;
  let scopeLength = -1;
  let index = UNLISTED;
  for (let depth = 0; ; depth++) {
    if (nodes.own[node] !== UNLISTED) {
      listed = nodes.own[node];
      matchedLength = depth;
    }
    if (scopeLength < 0 && nodes.uniform[node] !== MIXED) {
      scopeLength = depth;
      index = nodes.uniform[node];
    }
    if (depth >= sourceLength) break;
    const next = nodes.child[node * 2 + bitAt(address.bytes, depth)];
    if (next === 0) {
      // A missing child of a mixed node: all its addresses have what was listed last on the way.
      if (scopeLength < 0) return { index: listed, matchedLength, scopeLength: depth + 1 };
      break;
    }
    node = next;
  }
  if (scopeLength < 0) return { index: nodes.dominant[node], matchedLength, scopeLength: sourceLength };
  return { index, matchedLength, scopeLength };
}
