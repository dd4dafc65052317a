/**
 * How long to leave a server alone that has answered 429. It counts requests by address, so what it
 * said to one is meant for all: nothing more is asked until the time is over, by whatever would ask.
 */

/** Without a word from the server, and doubled with each further refusal. */
const FIRST_MS = 5_000;
/** No server is left alone for longer, whatever it says: a wrong figure must not end the page. */
const LONGEST_MS = 300_000;
/** Added at random, in parts of the wait: pages that were refused together do not come back together. */
const SPREAD = 0.5;

export class RateLimit {
  #until = Number.NEGATIVE_INFINITY;
  #refusals = 0;

  /** Whole milliseconds, as timers have them, to wait before the next request; 0 when it may be made. */
  waitMs(now: number): number {
    return Math.ceil(Math.max(0, this.#until - now));
  }

  /**
   * The server has refused.
   *
   * @param retryAfterMs what it asked for, `null` when it said nothing
   * @param jitter in 0..1
   */
  refused(now: number, retryAfterMs: number | null, jitter: number): void {
    const backoff = FIRST_MS * 2 ** Math.min(this.#refusals, 10);
    this.#refusals += 1;
    const least = Math.min(Math.max(retryAfterMs ?? 0, backoff), LONGEST_MS);
    this.#until = now + least * (1 + SPREAD * jitter);
  }

  /** The server has answered: the next refusal is a first one again. */
  answered(): void {
    this.#refusals = 0;
  }
}

/**
 * What a `Retry-After` header asks for in milliseconds: it has seconds or a date. `null` for none, and
 * for one that is neither.
 *
 * @param nowMs unix ms
 */
export function retryAfterMs(header: string | null, nowMs: number): number | null {
  const text = header?.trim() ?? "";
  if (/^\d+$/.test(text)) {
    return Number(text) * 1_000;
  }
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs);
}
