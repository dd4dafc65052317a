/**
 * How fast a live is played so that it stays close to its edge without running dry.
 *
 * hls.js keeps whatever distance a join began with. This aims at a fixed length of media buffered
 * ahead: more than that is latency for nothing, less is a stall at the next late part.
 */

/** What is kept ahead of the picture: two parts of 200 ms and a little. */
export const TARGET_AHEAD_S = 0.45;
/** Speech stays natural up to here, with the pitch preserved. */
const FASTEST = 1.25;
/** Below the target only gently: nobody hears it, and the next part helps too. */
const SLOWEST = 0.95;
/** Rates change in these steps, since each change is work for the audio renderer. */
const STEP = 0.05;
/** Seconds off the target per unit of rate: half a second too much is caught up at `FASTEST`. */
const GAIN = 0.5;
/** So far off the target nothing is done; parts make the buffer swing by half of their length. */
const CALM_ABOVE_S = 0.1;
const CALM_BELOW_S = 0.15;
/** Once something is done it goes on until it is this near. */
const NEAR_S = 0.02;
/** The swing of parts, smoothed over this. */
const SMOOTHING_MS = 400;

/** A line that stalls at this distance gets a little more. */
const MORE_AFTER_STALL_S = 0.2;
const STALLS_COUNTED = 4;
/** A stall is forgotten after so long without another. */
const FORGIVEN_AFTER_MS = 120_000;

export class LivePace {
  #smoothed: number | null = null;
  #firstSampleAt = 0;
  #sampledAt = 0;
  #rate = 1;
  #stalls = 0;
  #stallsChangedAt = 0;

  /** Seconds to have ahead; grows with each stall, and shrinks again. */
  get targetS(): number {
    return TARGET_AHEAD_S + MORE_AFTER_STALL_S * this.#stalls;
  }

  /** The rate at which to play, after so much was found ahead at `now` (ms of a monotonic clock). */
  rateFor(now: number, aheadS: number): number {
    this.#forgive(now);
    this.#smooth(now, aheadS);
    if (now - this.#firstSampleAt < SMOOTHING_MS) {
      return this.#rate;
    }
    const excess = (this.#smoothed ?? aheadS) - this.targetS;
    const correcting = this.#rate !== 1 && Math.sign(excess) === Math.sign(this.#rate - 1);
    const [above, below] = correcting ? [NEAR_S, NEAR_S] : [CALM_ABOVE_S, CALM_BELOW_S];
    if (excess > above) {
      this.#rate = Math.min(FASTEST, 1 + stepped(excess * GAIN));
    } else if (excess < -below) {
      this.#rate = Math.max(SLOWEST, 1 - stepped(-excess * GAIN));
    } else {
      this.#rate = 1;
    }
    return this.#rate;
  }

  /** The picture stood for want of media. */
  stalled(now: number): void {
    this.#stalls = Math.min(this.#stalls + 1, STALLS_COUNTED);
    this.#stallsChangedAt = now;
    this.restart();
  }

  /** Playback goes on elsewhere (a seek, another source): what was measured says nothing any more. */
  restart(): void {
    this.#smoothed = null;
    this.#rate = 1;
  }

  #smooth(now: number, aheadS: number): void {
    if (this.#smoothed === null) {
      this.#firstSampleAt = now;
    }
    const elapsed = Math.max(0, now - this.#sampledAt);
    this.#sampledAt = now;
    const before = this.#smoothed ?? aheadS;
    this.#smoothed = before + (aheadS - before) * (1 - Math.exp(-elapsed / SMOOTHING_MS));
  }

  #forgive(now: number): void {
    if (this.#stalls > 0 && now - this.#stallsChangedAt >= FORGIVEN_AFTER_MS) {
      this.#stalls -= 1;
      this.#stallsChangedAt = now;
    }
  }
}

/** At least one step, and whole ones. */
function stepped(change: number): number {
  return Math.max(1, Math.round(change / STEP)) * STEP;
}
