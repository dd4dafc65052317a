/**
 * Holds the picture after trouble until enough is buffered: a player that starts on the first thing
 * that comes has nothing left when it waits for the second.
 */

export interface RefillNeed {
  /** Seconds to have buffered before the picture moves again. */
  enoughS: number;
  /** … but it waits no longer than this once something came. */
  patienceMs: number;
}

/** Segments of two seconds. */
export const PLAIN_REFILL: RefillNeed = { enoughS: 3, patienceMs: 6_000 };
/** The same after an edge, where the picture stands without any fault of the broadcast's. */
export const FALLBACK_REFILL: RefillNeed = { enoughS: 2.5, patienceMs: 4_000 };
/** Parts of a fifth of a second. */
export const LOW_LATENCY_REFILL: RefillNeed = { enoughS: 0.45, patienceMs: 1_500 };

/** Less than this is not yet "something came". */
const SOMETHING_S = 0.1;

export class RefillHold {
  #held: { need: RefillNeed; beganAt: number; cameAt: number | null } | null = null;

  get holds(): boolean {
    return this.#held !== null;
  }

  /** How long it has held by `now`, 0 when it does not. */
  heldMs(now: number): number {
    return this.#held ? now - this.#held.beganAt : 0;
  }

  /** Holds from now on; one that holds already goes on with the new need. */
  begin(now: number, need: RefillNeed): void {
    this.#held = { need, beganAt: this.#held?.beganAt ?? now, cameAt: null };
  }

  /** Lets go when there is enough by now, and says whether it did. */
  release(now: number, aheadS: number, giveUp: boolean): boolean {
    const held = this.#held;
    if (!held) {
      return false;
    }
    if (aheadS > SOMETHING_S) {
      held.cameAt ??= now;
    }
    const waited = held.cameAt !== null && now - held.cameAt > held.need.patienceMs;
    if (aheadS < held.need.enoughS && !waited && !giveUp) {
      return false;
    }
    this.#held = null;
    return true;
  }
}
