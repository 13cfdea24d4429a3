/** What a server listens on. */

/**
 * An address and port, or the descriptor of a bound socket that somebody else opened (in another network namespace, or from a
 * predecessor). Never a wildcard address: each socket answers from the one address that it is bound to.
 */
export type SocketSource =
  | { readonly family: 4 | 6; readonly address: string; readonly port: number }
  | { readonly family: 4 | 6; readonly fd: number };

export interface BoundAddress {
  readonly address: string;
  readonly port: number;
}

export function isWildcardAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::' || address === '';
}
