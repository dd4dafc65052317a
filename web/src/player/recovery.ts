/**
 * What is done about trouble: how long a lost stream is retried, when its low-latency edge is left for
 * the plain playlists, and when it is gone back to.
 */

import type { ErrorData } from "hls.js";
import Hls from "hls.js/light";
import { edgeAnswers } from "./edge-probe";
import { type ListEnd, ListVitals } from "./list-vitals";
import { RetryWindow } from "./retry-window";
import { SourceChoice, type SourceKind } from "./source-choice";

/** The playback that is to be got back, as its engine knows it and changes it. */
export interface Playback {
  readonly video: HTMLVideoElement;
  /** A picture has moved. */
  readonly started: boolean;
  /** The picture is held until more is buffered. */
  readonly holds: boolean;
  /** The viewer watches the live, rather than the past by choice. */
  readonly follows: boolean;
  readonly listEnded: boolean;
  /** A list came from what plays now. */
  readonly listed: boolean;

  /** Loads on with what is there. */
  startLoad(): void;
  stopLoad(): void;
  recoverMediaError(): void;
  /** Forgets all that was parsed and begins anew: who watches the past goes on there, others at live. */
  renew(): void;
  /** The same, at the moment that is on screen. */
  renewAtThisMoment(): void;
  /** The same, at live. */
  renewLive(): void;
  /** The same, so many milliseconds after the moment that is on screen. */
  renewAfter(ms: number): void;
  /** Holds the picture, for the plain playlists begin with more than the edge does. */
  holdAfterEdge(): void;
}

/** Errors after which hls.js cannot go on with what it has parsed. */
const NEEDS_NEW_INSTANCE = new Set<string>([
  "levelParsingError",
  "manifestParsingError",
  "manifestIncompatibleCodecsError",
  "internalException",
]);
/** A decoder that fails again within this time is not helped by starting it again. */
const MEDIA_ERRORS_APART_MS = 5_000;
/** Who watches the past is taken past what cannot be decoded: a segment, and what is around it. */
const UNDECODABLE_MS = 4_000;

export class Recovery {
  readonly #window: RetryWindow;
  readonly #choice = new SourceChoice();
  readonly #disposed = new AbortController();
  #vitals: ListVitals;
  #edgeUrl: string | null;
  #asking = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #givenUp = false;
  #mediaErrorAt = Number.NEGATIVE_INFINITY;

  /**
   * @param retryWindowMs how long a lost stream is retried
   * @param edgeUrl the low-latency edge's master, where there is one
   * @param now ms of a monotonic clock
   */
  constructor(
    private readonly playback: Playback,
    retryWindowMs: number,
    edgeUrl: string | null,
    private readonly now: () => number,
  ) {
    this.#window = new RetryWindow(retryWindowMs);
    this.#vitals = new ListVitals(now());
    this.#edgeUrl = edgeUrl;
    if (edgeUrl) {
      this.#choice.takeEdge(now());
    }
  }

  /** Which of the two addresses is to be played. */
  get source(): SourceKind {
    return this.#choice.current;
  }

  /** The edge's master while the edge is to be played. */
  get edgeUrl(): string | null {
    return this.source === "low-latency" ? this.#edgeUrl : null;
  }

  get troubled(): boolean {
    return this.#window.isOpen;
  }

  /** The trouble has lasted for too long: nothing is loaded any more. */
  get givenUp(): boolean {
    return this.#givenUp;
  }

  dispose(): void {
    this.#disposed.abort();
    clearTimeout(this.#retryTimer);
  }

  // — what is wanted —

  /** The stream has, or has no longer, an edge; what plays goes on either way. */
  offerEdge(url: string | null): void {
    this.#edgeUrl = url;
    if (url) {
      this.#choice.offerEdge(this.now());
    } else {
      this.#choice.withdrawEdge();
    }
  }

  /** The viewer wants the live: the edge may be asked at once. */
  wantLive(): void {
    this.#choice.askSoon(this.now());
  }

  /** The viewer wants another try, after the stream was given up. */
  retry(): void {
    this.#tryAnew();
    if (this.source === "low-latency") {
      this.#choice.takeEdge(this.now());
    } else {
      this.wantLive();
    }
    this.playback.renew();
  }

  // — what happens —

  listed(list: ListEnd): void {
    this.#vitals.listed(this.now(), list);
  }

  progressed(): void {
    // What was under way when the stream was given up, and comes late, is no sign of life.
    if (!this.#givenUp) {
      clearTimeout(this.#retryTimer);
      this.#window.close();
    }
  }

  /** Another instance plays from now on: what was known of the lists is over with the old one. */
  renewed(): void {
    clearTimeout(this.#retryTimer);
    this.#vitals = new ListVitals(this.now());
  }

  failed(data: ErrorData): void {
    const { playback } = this;
    if (!data.fatal || playback.video.ended || this.#givenUp) {
      return;
    }
    const at = this.now();
    const ofMedia = data.type === Hls.ErrorTypes.MEDIA_ERROR;
    if (ofMedia && at - this.#mediaErrorAt > MEDIA_ERRORS_APART_MS) {
      this.#mediaErrorAt = at;
      this.#window.open(at);
      playback.recoverMediaError();
      return;
    }
    if (this.source === "low-latency") {
      this.#fallBack();
      return;
    }
    this.#window.open(at);
    this.#scheduleRetry(ofMedia || !playback.listed || NEEDS_NEW_INSTANCE.has(data.details));
  }

  /** What could not be decoded is not tried again: the live goes on, and the past after it. */
  decoderFailed(): void {
    if (this.playback.video.ended || this.#givenUp) {
      return;
    }
    const at = this.now();
    const soon = at - this.#mediaErrorAt < MEDIA_ERRORS_APART_MS;
    this.#mediaErrorAt = at;
    this.#window.open(at);
    if (soon) {
      this.#scheduleRetry(true);
    } else if (this.playback.follows) {
      this.playback.renewLive();
    } else {
      this.playback.renewAfter(UNDECODABLE_MS);
    }
  }

  /** To be told several times a second, with the seconds buffered ahead of the picture. */
  tick(at: number, ahead: number): void {
    // What stands by choice lacks nothing.
    const lacking = this.playback.video.paused ? Number.POSITIVE_INFINITY : ahead;
    if (this.#vitals.buffered(at, lacking)) {
      this.#window.woken(at);
    }
    if (this.#vitals.isStale(at, this.source)) {
      this.#window.open(at);
    }
    if (this.#window.isOver(at) && !this.#givenUp) {
      this.#giveUp();
    }
    if (this.#usesEdge && this.#vitals.edgeIsGone(at, this.playback.follows)) {
      this.#fallBack();
    } else if (this.#mayMove && this.#choice.isDue(at, this.playback.started)) {
      void this.#askEdge();
    }
  }

  // — retrying —

  #scheduleRetry(renew: boolean): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => {
      if (this.#givenUp) {
        return;
      }
      if (renew) {
        this.playback.renew();
      } else {
        this.playback.startLoad();
      }
    }, this.#window.nextDelay(Math.random()));
  }

  /** A stream that was given up is no longer; whatever comes next has a whole window to come. */
  #tryAnew(): void {
    this.#givenUp = false;
    this.#window.close();
    this.#window.open(this.now());
  }

  /** Nothing is loaded any more; an edge is asked now and then whether it has something again. */
  #giveUp(): void {
    this.#givenUp = true;
    this.#choice.awaitEdge(this.now(), Math.random());
    clearTimeout(this.#retryTimer);
    this.playback.stopLoad();
  }

  // — the edge —

  /** The edge is gone: the plain playlists go on at the same moment of the broadcast. */
  #fallBack(): void {
    this.#choice.fallBack(this.now(), Math.random());
    // Trouble of the edge's is over with it; the plain playlists may have their own.
    this.#window.close();
    if (this.playback.started) {
      this.playback.holdAfterEdge();
    }
    this.playback.renewAtThisMoment();
  }

  /** Asks the edge whether it is back, and goes there with who watches the live. */
  async #askEdge(): Promise<void> {
    const url = this.#edgeUrl;
    if (this.#asking || !url) {
      return;
    }
    this.#asking = true;
    const answers = await edgeAnswers(url, this.#disposed.signal);
    this.#asking = false;
    if (this.#disposed.signal.aborted) {
      return;
    }
    if (answers && this.#mayMove) {
      if (this.#givenUp) {
        this.#tryAnew();
      }
      this.#choice.takeEdge(this.now());
      this.playback.renewLive();
    } else {
      this.#choice.askLater(this.now(), Math.random());
    }
  }

  /**
   * The edge is watched for being gone; not while the picture stands by choice or at its end, nor
   * once the broadcast was given up: nothing is asked of the edge then.
   */
  get #usesEdge(): boolean {
    const { paused, ended } = this.playback.video;
    return this.source === "low-latency" && !paused && !ended && !this.#givenUp;
  }

  /** Nobody is moved who watches the past, has paused, or has seen the end come. */
  get #mayMove(): boolean {
    const { started, video, holds, follows, listEnded } = this.playback;
    const settled = !started || (!video.paused && !holds);
    return follows && settled && !listEnded;
  }
}
