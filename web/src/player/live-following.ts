/**
 * Whether a viewer watches the live, or the past by choice.
 *
 * Who watches the live is brought back to it after a stall; who has gone back is left alone until
 * the Live button, or a seek to the right end of the bar.
 */

/** Seeking this near to the live position is going live. */
const NEAR_S = 2;
/** A step back of less than this is the engine's, not a viewer's. */
const STEP_BACK_S = 0.5;
/** A pause that left the viewer further behind than this was a choice of the past. */
const PAUSED_BEHIND_S = 5;

export class LiveFollowing {
  #follows = true;

  get follows(): boolean {
    return this.#follows;
  }

  /**
   * The play position has moved from `from` to `to`, while live was at `live`. Steps forward over
   * holes are the engine's own work and prove nothing, unless they lead to the live position.
   */
  moved(from: number, to: number, live: number): void {
    const near = live - to < NEAR_S;
    if (near || to < from - STEP_BACK_S) {
      this.#follows = near;
    }
  }

  /** A pause is over, so far behind the live position. */
  resumed(behindS: number): void {
    if (behindS > PAUSED_BEHIND_S) {
      this.#follows = false;
    }
  }

  /** The viewer asked for the live. */
  goLive(): void {
    this.#follows = true;
  }
}
