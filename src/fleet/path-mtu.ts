/** How long packets of a flow may be on their way to a backend, and what becomes of longer ones: what the kernel program does, from what stands in it. */
import type { ForwardingMode } from '../config/model.ts';
import { overheadBytes } from '../config/overhead.ts';
import { LEAST_MTU } from '../model/mtu.ts';

const TCP_HEADER_BYTES = 20;
const IP_HEADER_BYTES = { 4: 20, 6: 40 } as const;

export interface PathMtu {
  /** Of the path from the balancer to the backend. */
  readonly pathBytes: number;
  /** The longest packet of a client that fits, whatever headers it may get; what senders of longer ones are told. */
  readonly packetBytes: number;
  /** What the backend should announce, so that clients' segments fit. */
  readonly tcpMss: number;
  /** The path cannot carry what every path must, with the headers around it. */
  readonly isTooNarrow: boolean;
}

/** `inner`: family of the client's packets; `outer`: of the backend's address. */
export function pathMtu(
  pathBytes: number,
  mode: ForwardingMode,
  inner: 4 | 6,
  outer: 4 | 6,
  hasAgent: boolean,
): PathMtu {
  const fits = pathBytes - overheadBytes(mode, outer, hasAgent);
  const packetBytes = Math.max(LEAST_MTU[inner], fits);
  return {
    pathBytes,
    packetBytes,
    tcpMss: packetBytes - IP_HEADER_BYTES[inner] - TCP_HEADER_BYTES,
    isTooNarrow: fits < LEAST_MTU[inner],
  };
}

/** For people. */
export function pathMtuSentences({ pathBytes, packetBytes, tcpMss, isTooNarrow }: PathMtu, inner: 4 | 6): string[] {
  const told = inner === 6 ? 'packet too big' : 'fragmentation needed';
  const which = inner === 6 ? 'longer ones are' : 'longer ones with DF are';
  const lines = [
    `  packets of up to ${packetBytes} bytes fit on its path of ${pathBytes}: ${which} dropped and their sender is told (ICMP "${told}", MTU ${packetBytes}); TCP that announces an MSS of ${tcpMss} sends none`,
  ];
  if (isTooNarrow)
    lines.push(
      `  the path of ${pathBytes} bytes is too narrow for what every path must carry (${LEAST_MTU[inner]} bytes) and the headers around it: give it a larger MTU`,
    );
  return lines;
}
