/**
 * Keeps a viewer who watches the live close to it: by the rate of playback, and by a jump where
 * that would take too long. Leaves alone who watches the past.
 */

import { bufferedAhead } from "./buffer";
import { LiveFollowing } from "./live-following";
import { LivePace } from "./live-pace";
import type { SourceKind } from "./source-choice";

interface Distances {
  /** After a stall, and after a join, further behind live than this is caught up by a jump. */
  jumpAfterStallS: number;
  /** Further than this is, for whatever reason. */
  jumpS: number;
}

const DISTANCES: Record<SourceKind, Distances> = {
  "low-latency": { jumpAfterStallS: 0.5, jumpS: 2 },
  // A segment more or less is no reason to leave something out.
  plain: { jumpAfterStallS: 3, jumpS: Number.POSITIVE_INFINITY },
};
/** A jump shows what it brought before there is another. */
const JUMPS_APART_MS = 3_000;
/** A jump within what is buffered leaves so much of it ahead. */
const KEPT_BY_JUMP_S = 0.4;
/**
 * A join begins at a keyframe, since that picture is there first; what comes after it, up to live, is
 * there a moment later. It is jumped to then, or after this at the latest.
 */
const JOIN_PATIENCE_MS = 1_000;
/** A stall is over when there is this much to play. */
const RECOVERED_S = 0.3;
/** A longer one is an outage, which no buffer would have bridged: no reason to keep a larger one. */
const JITTER_MS = 2_000;

export class LiveKeeper {
  readonly #pace = new LivePace();
  readonly #following = new LiveFollowing();
  /** Where playback was last, `null` before it began (again). */
  #lastTime: number | null = null;
  #stalledAt: number | null = null;
  #joinsSince: number | null = null;
  #joined = false;
  #pausedAt: number | null = null;
  #jumpedAt = Number.NEGATIVE_INFINITY;

  /**
   * @param livePosition media time of "live" in what plays, `null` while it is not known
   * @param now ms of a monotonic clock
   */
  constructor(
    private readonly video: HTMLVideoElement,
    private readonly livePosition: () => number | null,
    private readonly now: () => number,
  ) {
    video.addEventListener("seeking", this.#onSeeking);
    video.addEventListener("waiting", this.#onWaiting);
    video.addEventListener("pause", this.#onPause);
    video.addEventListener("play", this.#onPlay);
  }

  dispose(): void {
    this.video.removeEventListener("seeking", this.#onSeeking);
    this.video.removeEventListener("waiting", this.#onWaiting);
    this.video.removeEventListener("pause", this.#onPause);
    this.video.removeEventListener("play", this.#onPlay);
  }

  /** The viewer watches the live, rather than the past by choice. */
  get follows(): boolean {
    return this.#following.follows;
  }

  /** The viewer wants the live. */
  goLive(): void {
    this.#following.goLive();
    const live = this.livePosition();
    if (live !== null) {
      this.#jump(live);
    }
  }

  /**
   * The viewer goes to `to`. Steps of the engine's own cannot be told from a viewer's by the media
   * element alone, above all before it is known where playback is.
   */
  sought(to: number): void {
    const live = this.livePosition();
    if (live !== null) {
      this.#following.moved(this.#lastTime ?? Number.POSITIVE_INFINITY, to, live);
      this.#pace.restart();
    }
  }

  /** Another source plays from now on, on another time line. */
  restart(): void {
    this.#lastTime = null;
    this.#stalledAt = null;
    this.#joinsSince = null;
    this.#joined = false;
    this.#jumpedAt = Number.NEGATIVE_INFINITY;
    this.#pace.restart();
  }

  /** To be called several times a second while the picture may move. */
  tick(source: SourceKind): void {
    const { video } = this;
    if (video.paused || video.seeking || video.readyState === HTMLMediaElement.HAVE_NOTHING) {
      return;
    }
    this.#joinsSince ??= this.now();
    this.#lastTime = video.currentTime;
    const ahead = bufferedAhead(video.buffered, video.currentTime);
    const recovered = this.#recovers(ahead);
    if (this.#following.follows) {
      this.#catchUp(DISTANCES[source], recovered, ahead);
    }
    const paced = source === "low-latency" && this.#following.follows;
    setRate(video, paced ? this.#pace.rateFor(this.now(), ahead) : 1);
  }

  /** Whether a stall is over just now. */
  #recovers(ahead: number): boolean {
    const since = this.#stalledAt;
    if (since === null || ahead < RECOVERED_S) {
      return false;
    }
    this.#stalledAt = null;
    if (this.now() - since < JITTER_MS) {
      this.#pace.stalled(this.now());
    }
    return true;
  }

  #catchUp({ jumpAfterStallS, jumpS }: Distances, recovered: boolean, ahead: number): void {
    const live = this.livePosition();
    if (live === null) {
      return;
    }
    const { currentTime } = this.video;
    const behind = live - currentTime;
    // Into what is there already, if that is nearly as good.
    const there = currentTime + ahead - KEPT_BY_JUMP_S;
    const isThere = there > live - jumpAfterStallS;
    const joins = this.#joins(isThere || behind <= jumpAfterStallS);
    const again = this.#joined && this.now() - this.#jumpedAt > JUMPS_APART_MS;
    if (((recovered || joins) && behind > jumpAfterStallS) || (again && behind > jumpS)) {
      this.#jump(isThere ? Math.min(there, live) : live);
    }
  }

  /** Whether a join is over just now, because there is something near live to play, or will hardly be. */
  #joins(isNear: boolean): boolean {
    if (this.#joined) {
      return false;
    }
    const waitedMs = this.now() - (this.#joinsSince ?? this.now());
    this.#joined = isNear || waitedMs >= JOIN_PATIENCE_MS;
    return this.#joined;
  }

  #jump(to: number): void {
    this.#jumpedAt = this.now();
    this.#lastTime = null;
    this.#stalledAt = null;
    this.#pace.restart();
    this.video.currentTime = to;
  }

  #onSeeking = (): void => {
    const live = this.livePosition();
    if (this.#lastTime !== null && live !== null) {
      this.#following.moved(this.#lastTime, this.video.currentTime, live);
      this.#pace.restart();
    }
  };

  #onWaiting = (): void => {
    // What has only just begun says nothing of the line.
    if (this.#joined && this.#lastTime !== null && !this.video.seeking && !this.video.paused) {
      this.#stalledAt ??= this.now();
    }
  };

  #onPause = (): void => {
    this.#pausedAt ??= this.now();
  };

  #onPlay = (): void => {
    const pausedS = this.#pausedAt === null ? 0 : (this.now() - this.#pausedAt) / 1_000;
    this.#pausedAt = null;
    const live = this.livePosition();
    const isKnown = this.#lastTime !== null && live !== null;
    this.#following.resumed(isKnown ? live - this.video.currentTime : pausedS);
  };
}

/** Setting the same rate again is an event all the same. */
function setRate(video: HTMLVideoElement, rate: number): void {
  if (video.playbackRate !== rate) {
    video.playbackRate = rate;
  }
}
