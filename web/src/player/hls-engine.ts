/**
 * Plays one live HLS URL in a media element, and gets it back when it is lost.
 *
 * hls.js loads and switches; this class adds what it leaves to the page: when trouble is told to
 * the viewer, how long it is retried, how playback starts again after it, and where "live" is.
 */

import type { ErrorData, HlsConfig, LevelDetails, LevelLoadedData } from "hls.js";
import Hls from "hls.js/light";
import { bufferedAhead, nextBufferedStart } from "./buffer";
import { type Phase, phaseOf } from "./phase";
import { type Quality, qualitiesOf } from "./quality";
import { RetryWindow } from "./retry-window";

export const AUTO = -1;

/** What the page shows of the player. A new object for each change. */
export interface EngineState {
  phase: Phase;
  qualities: readonly Quality[];
  /** The viewer's choice: a level's index or `AUTO`. */
  chosen: number;
  /** The level on screen, `null` before the first. */
  active: number | null;
  /** Seconds between the broadcaster and this screen, by PROGRAM-DATE-TIME. */
  latencyS: number | null;
  /** The viewer watches the past, by seeking or pausing. */
  behindLive: boolean;
  /** The playlist has its ENDLIST. */
  listEnded: boolean;
  /** The browser wants a click before it plays, even without sound. */
  needsGesture: boolean;
}

const INITIAL: EngineState = {
  phase: "connecting",
  qualities: [],
  chosen: AUTO,
  active: null,
  latencyS: null,
  behindLive: false,
  listEnded: false,
  needsGesture: false,
};

const CONFIG: Partial<HlsConfig> = {
  // Without it Video.js does not see a live. liveMaxLatencyDuration stays unset on purpose: it
  // pulls a viewer who has gone back to the edge again.
  liveDurationInfinity: true,
  // RFC 8216 section 6.3.3: not closer than three target durations to the end.
  liveSyncDurationCount: 3,
  maxBufferLength: 20,
  backBufferLength: 30,
  capLevelToPlayerSize: true,
  // Light pages on slow lines: begin low, the estimate is right after the first segment.
  abrEwmaDefaultEstimate: 2_000_000,
  // Quick failures: the retry window below is the one policy for how long to go on.
  manifestLoadPolicy: loadPolicy(5_000),
  playlistLoadPolicy: loadPolicy(5_000),
};

function loadPolicy(timeoutMs: number): HlsConfig["playlistLoadPolicy"] {
  const retry = { maxNumRetry: 1, retryDelayMs: 1_000, maxRetryDelayMs: 2_000 };
  return {
    default: {
      maxTimeToFirstByteMs: timeoutMs,
      maxLoadTimeMs: timeoutMs,
      timeoutRetry: retry,
      errorRetry: retry,
    },
  };
}

const TICK_MS = 250;
/** A live list that brought nothing new for so many target durations is in trouble. */
const STALE_TARGETS = 3;
/** Past this far from the live position a viewer is said to be behind. */
export const BEHIND_S = 5;
/**
 * After trouble the picture stands until this much is buffered: a player that starts on the first
 * new segment has nothing left when it waits for the second.
 */
const REFILL_S = 3;
/** … but not longer than this once something came. */
const REFILL_PATIENCE_MS = 6_000;

/** Errors after which hls.js cannot go on with what it has parsed. */
const NEEDS_NEW_INSTANCE = new Set<string>([
  "levelParsingError",
  "manifestParsingError",
  "manifestIncompatibleCodecsError",
  "internalException",
]);

export interface EngineOptions {
  /** How long a lost stream is retried: the broadcaster's grace and some more. */
  retryWindowMs: number;
}

export class HlsEngine {
  static isSupported(): boolean {
    return Hls.isSupported();
  }

  #hls: Hls;
  #state: EngineState = INITIAL;
  readonly #listeners = new Set<() => void>();
  readonly #window: RetryWindow;
  readonly #ticker: ReturnType<typeof setInterval>;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #details: LevelDetails | null = null;
  #advancedAt = now();
  #started = false;
  #givenUp = false;
  #mediaErrorAt = Number.NEGATIVE_INFINITY;
  /** Set while playback is held until enough is buffered; the time something came, if it did. */
  #refill: { since: number | null } | null = null;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly url: string,
    options: EngineOptions,
  ) {
    this.#window = new RetryWindow(options.retryWindowMs);
    this.#hls = this.#attach();
    this.#ticker = setInterval(this.#tick, TICK_MS);
    this.video.addEventListener("canplay", this.#autoplay);
    this.video.addEventListener("playing", this.#onPlaying);
    this.video.addEventListener("ended", this.#tick);
  }

  // — what the page sees —

  getState = (): EngineState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Where "live" is: far enough from the end of the list to play without a stall. */
  get livePosition(): number | null {
    return this.#hls.liveSyncPosition;
  }

  /** What can be sought, as `[start, end]`; `null` while nothing is known. */
  get seekableRange(): [number, number] | null {
    const details = this.#details;
    if (!details) {
      return null;
    }
    const end = details.live ? (this.livePosition ?? details.edge) : details.edge;
    const start = Math.max(0, details.fragmentStart);
    return [start, Math.max(start, end)];
  }

  // — what the page asks for —

  choose(level: number): void {
    // `nextLevel` drops what is buffered past the segment on screen, so the change is seen within
    // a segment and without a black frame.
    this.#hls.nextLevel = level;
    this.#set({ chosen: level });
  }

  seekToLive(): void {
    const live = this.livePosition;
    if (live !== null) {
      this.video.currentTime = live;
    }
    this.#play();
  }

  seekBy(seconds: number): void {
    const range = this.seekableRange;
    if (range) {
      const wanted = this.video.currentTime + seconds;
      this.video.currentTime = Math.min(Math.max(wanted, range[0]), range[1]);
    }
  }

  /** Starts over after the stream was given up. */
  retry(): void {
    this.#givenUp = false;
    this.#window.close();
    this.#window.open(now());
    this.#renew();
    this.#tick();
  }

  dispose(): void {
    clearInterval(this.#ticker);
    clearTimeout(this.#retryTimer);
    this.video.removeEventListener("canplay", this.#autoplay);
    this.video.removeEventListener("playing", this.#onPlaying);
    this.video.removeEventListener("ended", this.#tick);
    this.#hls.destroy();
    this.#listeners.clear();
  }

  // — hls.js —

  #attach(): Hls {
    const hls = new Hls(CONFIG);
    hls.on(Hls.Events.MANIFEST_PARSED, () => {
      const qualities = qualitiesOf(hls.levels);
      const kept = qualities.some(({ index }) => index === this.#state.chosen);
      if (kept && this.#state.chosen !== AUTO) {
        hls.nextLevel = this.#state.chosen;
      }
      this.#set({ qualities, chosen: kept ? this.#state.chosen : AUTO });
    });
    hls.on(Hls.Events.LEVEL_SWITCHED, (_event, { level }) => this.#set({ active: level }));
    hls.on(Hls.Events.LEVEL_LOADED, (_event, data) => this.#onLevelLoaded(data));
    hls.on(Hls.Events.FRAG_BUFFERED, () => this.#recovered());
    hls.on(Hls.Events.ERROR, (_event, data) => this.#onError(data));
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
    return hls;
  }

  #onLevelLoaded({ details }: LevelLoadedData): void {
    const newest = this.#details?.endSN ?? -1;
    this.#details = details;
    if (details.endSN > newest || !details.live) {
      this.#advancedAt = now();
    }
    this.#set({ listEnded: !details.live });
  }

  #onError(data: ErrorData): void {
    if (!data.fatal) {
      return;
    }
    const at = now();
    this.#window.open(at);
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && at - this.#mediaErrorAt > 5_000) {
      this.#mediaErrorAt = at;
      this.#hls.recoverMediaError();
      this.#play();
      return;
    }
    const renew = this.#details === null || NEEDS_NEW_INSTANCE.has(data.details);
    this.#scheduleRetry(renew || data.type === Hls.ErrorTypes.MEDIA_ERROR);
  }

  #scheduleRetry(renew: boolean): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => {
      if (this.#givenUp) {
        return;
      }
      if (renew) {
        this.#renew();
      } else {
        this.#hls.startLoad();
      }
    }, this.#window.nextDelay(Math.random()));
  }

  /** A new hls.js instance: all it had parsed is forgotten, playback begins at the live position. */
  #renew(): void {
    // Detaching pauses the element; whoever had paused it before wants it to stay so.
    const wasPlaying = !this.video.paused;
    this.#hls.destroy();
    this.#details = null;
    this.#advancedAt = now();
    this.#hls = this.#attach();
    if (wasPlaying) {
      this.#play();
    }
  }

  #recovered(): void {
    clearTimeout(this.#retryTimer);
    this.#window.close();
    this.#givenUp = false;
  }

  // — the clock —

  /**
   * Starts by itself, without sound where the browser insists on that. Done on `canplay` rather
   * than by Video.js on `loadstart`, whose `play()` is lost when hls.js attaches just then.
   */
  #autoplay = (): void => {
    if (this.#started) {
      return;
    }
    this.video.play().catch((error: DOMException) => {
      if (error.name !== "NotAllowedError") {
        return;
      }
      if (this.video.muted) {
        this.#set({ needsGesture: true });
      } else {
        this.video.muted = true;
        this.#autoplay();
      }
    });
  };

  #onPlaying = (): void => {
    this.#started = true;
    this.#set({ needsGesture: false });
    this.#tick();
  };

  #tick = (): void => {
    const at = now();
    const ahead = bufferedAhead(this.video.buffered, this.video.currentTime);
    const stale = this.#isStale(at);
    if (stale) {
      this.#window.open(at);
    }
    if (this.#window.isOver(at) && !this.#givenUp) {
      this.#giveUp();
    }
    const phase = phaseOf({
      listEnded: this.#state.listEnded,
      mediaEnded: this.video.ended,
      started: this.#started,
      bufferedAhead: ahead,
      troubled: this.#window.isOpen,
      givenUp: this.#givenUp,
    });
    this.#holdUntilRefilled(phase, ahead, at);
    const live = this.livePosition;
    this.#set({
      phase: this.#refill ? "reconnecting" : phase,
      latencyS: this.#latency(),
      behindLive: this.#started && live !== null && live - this.video.currentTime > BEHIND_S,
    });
  };

  #isStale(at: number): boolean {
    const details = this.#details;
    if (!details?.live || this.#state.listEnded) {
      return false;
    }
    return at - this.#advancedAt > details.targetduration * STALE_TARGETS * 1_000;
  }

  #giveUp(): void {
    this.#givenUp = true;
    clearTimeout(this.#retryTimer);
    this.#hls.stopLoad();
  }

  #holdUntilRefilled(phase: Phase, ahead: number, at: number): void {
    if (phase === "reconnecting" && !this.#refill) {
      this.#refill = { since: null };
      this.video.playbackRate = 0;
    }
    if (!this.#refill) {
      return;
    }
    if (ahead > 0.5) {
      this.#refill.since ??= at;
    } else {
      this.#skipHole();
    }
    const waited = this.#refill.since !== null && at - this.#refill.since > REFILL_PATIENCE_MS;
    if (ahead >= REFILL_S || waited || this.#state.listEnded || phase === "lost") {
      this.#refill = null;
      this.video.playbackRate = 1;
    }
  }

  /** hls.js skips holes (`EXT-X-GAP`) only while the picture moves, and the hold stops it. */
  #skipHole(): void {
    const next = nextBufferedStart(this.video.buffered, this.video.currentTime);
    if (next !== null && bufferedAhead(this.video.buffered, this.video.currentTime) < 0.1) {
      this.video.currentTime = next + 0.01;
    }
  }

  #latency(): number | null {
    const shown = this.#hls.playingDate;
    if (!shown || this.#state.listEnded) {
      return null;
    }
    const seconds = (Date.now() - shown.getTime()) / 1_000;
    // Below zero one of the two clocks is wrong, and the figure would only mislead.
    return seconds >= 0 ? Math.round(seconds * 10) / 10 : null;
  }

  #play(): void {
    // Refused where the browser wants a gesture first; the play button is there for that.
    this.video.play().catch(() => undefined);
  }

  #set(change: Partial<EngineState>): void {
    const keys = Object.keys(change) as (keyof EngineState)[];
    if (keys.every((key) => Object.is(this.#state[key], change[key]))) {
      return;
    }
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

/** Milliseconds of a clock that never jumps. */
function now(): number {
  return performance.now();
}
