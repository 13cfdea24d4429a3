/** Where a machine of the configuration is: this host, or a network namespace on it (the lab). */

export interface Machine {
  /** As in the configuration. */
  readonly name: string;
  /** Its network namespace; null: the process's own. */
  readonly netns: string | null;
  /** Name of the folder of its pins, /sys/fs/bpf/portico/NAME/. */
  readonly pins: string;
  /** Balancers: the namespace of its prober, behind the interface `probeInterface`; null: it has none. */
  readonly probeNetns: string | null;
  /** Balancers: the interface towards the prober; it carries the balancer's program too. */
  readonly probeInterface: string | null;
}

/** The files of one instance: state that outlives the process, and what lives only while the machine runs. */
export interface Folders {
  readonly state: string;
  readonly run: string;
}
