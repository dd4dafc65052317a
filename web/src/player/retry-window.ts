/** How long, and how often, a player tries to get a lost stream back. */

/** First wait after trouble; doubled up to `SLOWEST_MS`. */
const FIRST_MS = 1_000;
const SLOWEST_MS = 5_000;

/**
 * A span of trouble. It opens with the first failure, gives a waiting time for each further one,
 * and is closed by progress; a player gives up when it has been open for `windowMs`.
 */
export class RetryWindow {
  #openedAt: number | null = null;
  #attempts = 0;

  constructor(private readonly windowMs: number) {}

  /** Notes trouble at `now` (ms of a monotonic clock). Noting it again changes nothing. */
  open(now: number): void {
    this.#openedAt ??= now;
  }

  /** Media came: the next trouble is a new one. */
  close(): void {
    this.#openedAt = null;
    this.#attempts = 0;
  }

  /** The player was asleep and tried nothing: trouble that it had has its whole time from `now` on. */
  woken(now: number): void {
    if (this.isOpen) {
      this.close();
      this.open(now);
    }
  }

  get isOpen(): boolean {
    return this.#openedAt !== null;
  }

  /** Whether the trouble has lasted so long that the stream is given up. */
  isOver(now: number): boolean {
    return this.#openedAt !== null && now - this.#openedAt >= this.windowMs;
  }

  /**
   * Time to wait before the next try. `jitter` in 0..1 spreads viewers who lost the stream in the
   * same instant.
   */
  nextDelay(jitter: number): number {
    const delay = Math.min(FIRST_MS * 2 ** this.#attempts, SLOWEST_MS);
    this.#attempts += 1;
    return delay * (0.75 + 0.5 * jitter);
  }
}
