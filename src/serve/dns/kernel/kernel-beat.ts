/** Keeps the kernel's answers at what the process would say: each version of what is served, and what health does to it. */
import type { SteeringView } from '../../../decide/steer/nearest.ts';
import type { DnsKernel, KernelContent } from './dns-kernel.ts';

export interface KernelLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Health and drains that nobody tells of are looked at so often, as the threads' are; the clock is told as often. */
const BEAT_MS = 50;
/** Signatures are made anew days before they end. */
const RENEW_MS = 3_600_000;

export class KernelBeat {
  readonly #kernel: DnsKernel;
  readonly #view: SteeringView;
  readonly #log: KernelLog;
  #timer: NodeJS.Timeout | null = null;
  #renewTimer: NodeJS.Timeout | null = null;
  #content: KernelContent | null = null;
  #unsubscribe: (() => void) | undefined;
  /** It failed, and the process answers alone until a version succeeds. */
  #hasLeft = false;

  constructor(kernel: DnsKernel, view: SteeringView, log: KernelLog) {
    this.#kernel = kernel;
    this.#view = view;
    this.#log = log;
  }

  start(content: KernelContent): void {
    this.publish(content);
    const beat = () => this.#kernel.beat();
    this.#unsubscribe = this.#view.onChange?.(beat);
    this.#timer = setInterval(beat, BEAT_MS);
    this.#timer.unref();
    this.#renewTimer = setInterval(() => this.#renew(), RENEW_MS);
    this.#renewTimer.unref();
  }

  #renew(): void {
    if (this.#content !== null && this.#content.signing !== null) this.publish(this.#content);
  }

  /** Never throws: the process answers without the kernel too. */
  publish(content: KernelContent): void {
    this.#content = content;
    const isFirst = this.#kernel.attachments.length === 0;
    try {
      this.#kernel.publish(content);
      if (isFirst || this.#hasLeft) {
        const interfaces = this.#kernel.attachments.map(({ interfaceName }) => interfaceName);
        this.#log.info({ interfaces, ...this.#kernel.status() }, 'the kernel answers for steered names');
      }
      this.#hasLeft = false;
    } catch (error) {
      // What it has is not what is served any more.
      this.#kernel.leave();
      this.#hasLeft = true;
      this.#log.warn({ reason: (error as Error).message }, 'the kernel answers nothing, the process does it alone');
    }
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    if (this.#renewTimer !== null) clearInterval(this.#renewTimer);
    this.#renewTimer = null;
    this.#unsubscribe?.();
  }
}
