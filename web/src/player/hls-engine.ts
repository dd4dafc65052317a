/**
 * Plays one live in a media element, close to its edge, and gets it back when it is lost.
 *
 * hls.js loads and switches; this class is what binds it to the media element and to the rules that
 * it leaves to the page: `Recovery` gets a lost stream back, `LiveKeeper` keeps it close to live,
 * `RefillHold` holds the picture until enough is buffered.
 */

import type { LevelDetails, LevelLoadedData } from "hls.js";
import Hls from "hls.js/light";
import { Autoplay } from "./autoplay";
import { bufferedAhead, nextBufferedStart } from "./buffer";
import { configFor } from "./engine-config";
import { AUTO, BEHIND_S, type EngineState, EngineStore } from "./engine-state";
import { LiveKeeper } from "./live-keeper";
import { type Phase, phaseOf } from "./phase";
import { positionOf } from "./program-date";
import { qualitiesOf } from "./quality";
import { type Playback, Recovery } from "./recovery";
import { FALLBACK_REFILL, LOW_LATENCY_REFILL, PLAIN_REFILL, RefillHold } from "./refill-hold";
import type { SourceKind } from "./source-choice";
import { StillPicture } from "./still-picture";

const TICK_MS = 100;
/** As `BEHIND_S`, at the edge. */
const BEHIND_LOW_LATENCY_S = 2;
/** A picture held for longer than this is worth words. */
const QUIET_HOLD_MS = 6_000;

export interface EngineOptions {
  /** How long a lost stream is retried: the broadcaster's grace and some more. */
  retryWindowMs: number;
  /** The low-latency edge's master, where there is one. */
  lowLatencyUrl: string | null;
}

export class HlsEngine {
  static isSupported(): boolean {
    return Hls.isSupported();
  }

  #hls: Hls;
  readonly #store = new EngineStore();
  readonly #hold = new RefillHold();
  readonly #recovery: Recovery;
  readonly #keeper: LiveKeeper;
  readonly #autoplay: Autoplay;
  readonly #still: StillPicture;
  readonly #ticker: ReturnType<typeof setInterval>;
  /** The first picture of what begins at the edge is still to be shown. */
  #firstPicture = false;
  #details: LevelDetails | null = null;
  /** The moment of the broadcast (unix ms) at which the next instance begins; `null`: live. */
  #beginAt: number | null = null;
  /** The moment on screen last, kept while nothing is. */
  #shownAt: number | null = null;
  /** Whether the viewer lets it play, as seen last while the element had something to play. */
  #plays = false;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly plainUrl: string,
    { retryWindowMs, lowLatencyUrl }: EngineOptions,
  ) {
    this.#recovery = new Recovery(this.#playback(), retryWindowMs, lowLatencyUrl, now);
    this.#keeper = new LiveKeeper(video, () => this.livePosition, now);
    this.#autoplay = new Autoplay(video, () => this.#store.set({ needsGesture: true }));
    this.#still = new StillPicture(video);
    this.#hls = this.#attach();
    this.#ticker = setInterval(this.#tick, TICK_MS);
    this.video.addEventListener("loadedmetadata", this.#showFirstPicture);
    this.video.addEventListener("playing", this.#onPlaying);
    this.video.addEventListener("ended", this.#tick);
    this.video.addEventListener("error", this.#onMediaError);
  }

  // — what the page sees —

  getState = (): EngineState => this.#store.get();

  subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

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
    this.#store.set({ chosen: level });
  }

  seekToLive(): void {
    this.#keeper.goLive();
    this.#recovery.wantLive();
    this.#play();
  }

  seekBy(seconds: number): void {
    const range = this.seekableRange;
    if (range) {
      const wanted = this.video.currentTime + seconds;
      const to = Math.min(Math.max(wanted, range[0]), range[1]);
      this.viewerSeeks(to);
      this.video.currentTime = to;
    }
  }

  /** The viewer is about to be taken to `to`, a time of the media element. */
  viewerSeeks(to: number): void {
    this.#keeper.sought(to);
  }

  /** Starts over after the stream was given up. */
  retry(): void {
    this.#recovery.retry();
    this.#tick();
  }

  /** The stream has, or has no longer, a low-latency edge; what plays goes on either way. */
  offerLowLatency(url: string | null): void {
    this.#recovery.offerEdge(url);
  }

  dispose(): void {
    clearInterval(this.#ticker);
    this.#recovery.dispose();
    this.#autoplay.dispose();
    this.video.removeEventListener("loadedmetadata", this.#showFirstPicture);
    this.video.removeEventListener("playing", this.#onPlaying);
    this.video.removeEventListener("ended", this.#tick);
    this.video.removeEventListener("error", this.#onMediaError);
    this.#keeper.dispose();
    this.#still.remove();
    this.#hls.destroy();
    this.#store.close();
  }

  // — hls.js —

  get #source(): SourceKind {
    return this.#recovery.source;
  }

  #attach(): Hls {
    const source = this.#source;
    const atLive = this.#beginAt === null;
    this.#firstPicture = source === "low-latency" && atLive;
    const hls = new Hls(configFor(source, atLive));
    hls.on(Hls.Events.MEDIA_ATTACHING, this.#playOn);
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.#onQualities(hls));
    hls.on(Hls.Events.LEVEL_SWITCHED, (_event, { level }) => this.#store.set({ active: level }));
    hls.once(Hls.Events.LEVEL_LOADED, (_event, { level }) => this.#keepFirstLevel(hls, level));
    hls.on(Hls.Events.LEVEL_LOADED, (_event, data) => this.#onLevelLoaded(data));
    hls.on(Hls.Events.LEVEL_UPDATED, (_event, { details }) => this.#beginWhereItWas(details));
    hls.on(Hls.Events.BUFFER_APPENDED, this.#showFirstPicture);
    hls.on(Hls.Events.FRAG_BUFFERED, () => this.#recovery.progressed());
    hls.on(Hls.Events.ERROR, (_event, data) => this.#recovery.failed(data));
    hls.loadSource(this.#recovery.edgeUrl ?? this.plainUrl);
    hls.attachMedia(this.video);
    this.#store.set({ source });
    return hls;
  }

  /** Another instance may order its levels in another way: a choice is one of a name. */
  #onQualities(hls: Hls): void {
    const { chosen, qualities: before } = this.#store.get();
    const name = before.find(({ index }) => index === chosen)?.name;
    const qualities = qualitiesOf(hls.levels);
    const kept = qualities.find((quality) => quality.name === name)?.index ?? AUTO;
    if (kept !== AUTO) {
      hls.nextLevel = kept;
    }
    this.#store.set({ qualities, chosen: kept });
  }

  #onLevelLoaded({ details }: LevelLoadedData): void {
    this.#details = details;
    this.#recovery.listed(details);
    this.#store.set({ listEnded: !details.live });
  }

  /**
   * The level that hls.js begins with stays until it has a picture: a better one in its place, which
   * the first parts may suggest, would have to begin once more.
   */
  #keepFirstLevel(hls: Hls, level: number): void {
    if (hls.autoLevelEnabled && this.#source === "low-latency") {
      hls.loadLevel = level;
      this.video.addEventListener("loadeddata", () => this.#letLevelsChange(hls), { once: true });
    }
  }

  #letLevelsChange(hls: Hls): void {
    if (hls === this.#hls) {
      hls.loadLevel = this.#store.get().chosen;
    }
  }

  /**
   * hls.js goes to where it begins when all listed parts of a segment are there, and the first of
   * them is a picture already.
   */
  #showFirstPicture = (): void => {
    const { buffered, readyState, seeking, currentTime } = this.video;
    if (
      !this.#firstPicture ||
      buffered.length === 0 ||
      readyState < HTMLMediaElement.HAVE_METADATA
    ) {
      return;
    }
    this.#firstPicture = false;
    if (!seeking && currentTime < buffered.start(0)) {
      this.video.currentTime = buffered.start(0);
    }
  };

  /** hls.js begins at live by itself; where that is not wanted it is told as soon as dates are known. */
  #beginWhereItWas(details: LevelDetails): void {
    const date = this.#beginAt;
    this.#beginAt = null;
    const position = date === null ? null : positionOf(date, details);
    if (position !== null) {
      this.#hls.startLoad(position);
    }
  }

  /** A new hls.js instance, at `beginAt` (unix ms) or at live. */
  #renew(beginAt: number | null): void {
    this.#notePlaying();
    this.#beginAt = beginAt;
    this.#still.keep();
    this.#hls.destroy();
    this.#details = null;
    this.#recovery.renewed();
    this.#keeper.restart();
    this.#hls = this.#attach();
  }

  /** This engine as `Recovery` sees it. */
  #playback(): Playback {
    const engine = this;
    return {
      video: this.video,
      get started() {
        return engine.#autoplay.started;
      },
      get holds() {
        return engine.#hold.holds;
      },
      get follows() {
        return engine.#keeper.follows;
      },
      get listEnded() {
        return engine.#store.get().listEnded;
      },
      get listed() {
        return engine.#details !== null;
      },
      startLoad: () => this.#hls.startLoad(),
      stopLoad: () => this.#hls.stopLoad(),
      recoverMediaError: () => this.#hls.recoverMediaError(),
      renew: () => this.#renew((this.#keeper.follows ? null : this.#shownAt) ?? this.#beginAt),
      renewAtThisMoment: () => this.#renew(this.#shownAt ?? this.#beginAt),
      renewLive: () => this.#renew(null),
      renewAfter: (ms) => this.#renew(this.#shownAt === null ? null : this.#shownAt + ms),
      holdAfterEdge: () => this.#hold.begin(now(), FALLBACK_REFILL),
    };
  }

  // — the clock —

  #onPlaying = (): void => {
    this.#store.set({ needsGesture: false });
    this.#tick();
  };

  /**
   * The browser could not decode what hls.js gave it. By itself hls.js would attach the element once more and give
   * it the same, which it has done already if it came across the failure before this event did.
   */
  #onMediaError = (): void => {
    const { error } = this.video;
    if (error && error.code === error.MEDIA_ERR_DECODE) {
      this.#hls.detachMedia();
      this.#recovery.decoderFailed();
    }
  };

  /** A decoder that fails pauses the element, and so does detaching it; neither is what the viewer wants. */
  #notePlaying(): void {
    if (this.#hls.media && !this.video.error) {
      this.#plays = !this.video.paused;
    }
  }

  /** The element is attached anew, by this class or by hls.js: it stays paused for who had paused it. */
  #playOn = (): void => {
    if (this.#plays) {
      this.#play();
    }
  };

  #tick = (): void => {
    const at = now();
    this.#notePlaying();
    const ahead = bufferedAhead(this.video.buffered, this.video.currentTime);
    this.#recovery.tick(at, ahead);
    const phase = phaseOf({
      listEnded: this.#store.get().listEnded,
      mediaEnded: this.video.ended,
      started: this.#autoplay.started,
      bufferedAhead: ahead,
      troubled: this.#recovery.troubled,
      givenUp: this.#recovery.givenUp,
    });
    this.#holdUntilRefilled(phase, ahead, at);
    if (!this.#hold.holds && this.#autoplay.started) {
      this.#keeper.tick(this.#source);
    }
    this.#show(phase, at);
  };

  #show(phase: Phase, at: number): void {
    const holding = this.#hold.holds;
    const spoken = holding && (this.#hold.heldMs(at) > QUIET_HOLD_MS || phase === "reconnecting");
    const live = this.livePosition;
    const tolerated = this.#source === "low-latency" ? BEHIND_LOW_LATENCY_S : BEHIND_S;
    this.#store.set({
      phase: spoken ? "reconnecting" : phase,
      holding,
      latencyS: this.#latency(),
      behindLive:
        this.#autoplay.started && live !== null && live - this.video.currentTime > tolerated,
    });
  }

  #holdUntilRefilled(phase: Phase, ahead: number, at: number): void {
    if (phase === "reconnecting" && !this.#hold.holds) {
      this.#hold.begin(at, this.#source === "plain" ? PLAIN_REFILL : LOW_LATENCY_REFILL);
    }
    if (!this.#hold.holds) {
      return;
    }
    if (ahead < 0.1) {
      this.#skipHole();
    }
    const released = this.#hold.release(at, ahead, this.#store.get().listEnded || phase === "lost");
    const rate = released ? 1 : 0;
    // Again and again: a media element that is given another source begins at rate 1.
    if (this.video.playbackRate !== rate) {
      this.video.playbackRate = rate;
    }
  }

  /** hls.js skips holes (`EXT-X-GAP`) only while the picture moves, and the hold stops it. */
  #skipHole(): void {
    const next = nextBufferedStart(this.video.buffered, this.video.currentTime);
    if (next !== null) {
      this.video.currentTime = next + 0.01;
    }
  }

  #latency(): number | null {
    const shown = this.#hls.playingDate?.getTime();
    this.#shownAt = shown ?? this.#shownAt;
    if (shown === undefined || this.#store.get().listEnded) {
      return null;
    }
    const seconds = (Date.now() - shown) / 1_000;
    // Below zero one of the two clocks is wrong, and the figure would only mislead.
    return seconds >= 0 ? Math.round(seconds * 10) / 10 : null;
  }

  #play(): void {
    // Refused where the browser wants a gesture first; the play button is there for that.
    this.video.play().catch(() => undefined);
  }
}

/** Milliseconds of a clock that never jumps. */
function now(): number {
  return performance.now();
}
