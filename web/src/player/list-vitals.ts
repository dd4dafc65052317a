/** Tells from the lists that come in whether a live goes on, and whether its edge is of use. */

import type { SourceKind } from "./source-choice";

/** What is read of hls.js' `LevelDetails`. */
export interface ListEnd {
  live: boolean;
  /** Seconds. */
  targetduration: number;
  endSN: number;
  lastPartSn: number;
  lastPartIndex: number;
}

/** A live list that brought nothing new for so many target durations is in trouble. */
const STALE_TARGETS: Record<SourceKind, number> = { "low-latency": 1.5, plain: 3 };
/**
 * An edge that answers nothing for so many target durations is gone: it holds a reload for three at
 * most, and hls.js asks again after half a one.
 */
const SILENT_TARGETS = 4;
/** An edge whose lists go on while nothing can be played for this long is of no use either. */
const DRY_MS = 4_000;
const DRY_S = 0.1;
/**
 * The same at the end of a broadcast, where sound may be shorter than the picture: hls.js does not
 * close the buffer while the middle of the last part is not in both, and browsers stand up to
 * a third of a second before the end of one that is not closed. It is played in less than DRY_MS.
 */
const DRY_AT_END_S = 1;
/**
 * Who looks several times a second and did not for this long was asleep: a machine, or a page whose
 * timers the browser held back. What did not come meanwhile proves nothing.
 */
const ASLEEP_MS = 2_000;

export class ListVitals {
  #list: ListEnd | null = null;
  /** When a list came last, brought something new last, and when there was media to play last. */
  #heardAt: number;
  #advancedAt: number;
  #wetAt: number;
  #lookedAt: number;

  constructor(now: number) {
    this.#heardAt = this.#advancedAt = this.#wetAt = this.#lookedAt = now;
  }

  listed(now: number, list: ListEnd): void {
    if (!this.#list || !list.live || isFurther(list, this.#list)) {
      if (this.isStale(now, "low-latency")) {
        // What was not listed could not be played: only from now on is it the edge's fault.
        this.#wetAt = now;
      }
      this.#advancedAt = now;
    }
    this.#list = list;
    this.#heardAt = now;
  }

  /**
   * So many seconds of media lie ahead of the picture; endless is what nobody plays. To be told
   * several times a second: returns whether nobody did for a while, as if asleep.
   */
  buffered(now: number, aheadS: number): boolean {
    const wasAsleep = now - this.#lookedAt > ASLEEP_MS;
    if (wasAsleep) {
      this.#heardAt = this.#advancedAt = this.#wetAt = now;
    }
    this.#lookedAt = now;
    if (aheadS >= (this.#list?.live === false ? DRY_AT_END_S : DRY_S)) {
      this.#wetAt = now;
    }
    return wasAsleep;
  }

  /** The list has not grown for too long: nothing comes from the broadcaster, or none of it here. */
  isStale(now: number, source: SourceKind): boolean {
    const list = this.#list;
    if (!list?.live) {
      return false;
    }
    return now - this.#advancedAt > list.targetduration * STALE_TARGETS[source] * 1_000;
  }

  /**
   * The edge says nothing, or what it says cannot be played, be it the rest of a broadcast that is
   * over. Only who watches the live can tell the latter: the past comes from storage, which is no
   * faster by another playlist.
   */
  edgeIsGone(now: number, followsLive: boolean): boolean {
    const list = this.#list;
    if (!list) {
      return false;
    }
    const silent = list.live && now - this.#heardAt > list.targetduration * SILENT_TARGETS * 1_000;
    const dry = now - this.#wetAt > DRY_MS && !this.isStale(now, "low-latency");
    return silent || (followsLive && dry);
  }
}

function isFurther(list: ListEnd, before: ListEnd): boolean {
  return (
    list.endSN > before.endSN ||
    list.lastPartSn > before.lastPartSn ||
    (list.lastPartSn === before.lastPartSn && list.lastPartIndex > before.lastPartIndex)
  );
}
