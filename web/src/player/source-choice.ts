/**
 * Which of a live's two addresses is played: the low-latency edge, or the plain playlists, which are
 * further behind and stay when an edge is gone.
 */

export type SourceKind = "low-latency" | "plain";

/** The edge is asked again so often while the plain playlists play. */
const AGAIN_MS = 15_000;
/** An edge that was of use for less than this before it failed again is asked more rarely. */
const LASTING_MS = 30_000;
/** How often the wait doubles for one that keeps failing: up to two minutes. */
const DOUBLINGS = 3;
/** While nothing has played yet there is nothing to spoil by asking sooner. */
const AGAIN_BEFORE_START_MS = 4_000;

export class SourceChoice {
  #current: SourceKind = "plain";
  #edgeBeganAt = 0;
  #shortLives = 0;
  /** When the edge is to be asked; `null` while it is tried anyway, and when there is none. */
  #question: { plannedAt: number; askAt: number } | null = null;

  get current(): SourceKind {
    return this.#current;
  }

  /** The stream has an edge: it may be asked from now on. */
  offerEdge(now: number): void {
    if (this.#current === "plain") {
      this.#question ??= { plannedAt: now, askAt: now };
    }
  }

  /** The stream has none any more. */
  withdrawEdge(): void {
    this.#question = null;
  }

  /** The edge plays from now on. */
  takeEdge(now: number): void {
    this.#current = "low-latency";
    this.#edgeBeganAt = now;
    this.#question = null;
  }

  /** The edge has failed; `jitter` in 0..1 spreads its viewers, who all see that at once. */
  fallBack(now: number, jitter: number): void {
    if (this.#current === "low-latency") {
      this.#current = "plain";
      const lasted = now - this.#edgeBeganAt >= LASTING_MS;
      this.#shortLives = lasted ? 0 : Math.min(this.#shortLives + 1, DOUBLINGS + 1);
      this.#planQuestion(now, jitter);
    }
  }

  /** The edge plays nothing, for nothing comes there: it is asked when that is over. */
  awaitEdge(now: number, jitter: number): void {
    if (this.#current === "low-latency") {
      this.#planQuestion(now, jitter);
    }
  }

  /**
   * Whether the edge is to be asked now. The answer is told by `takeEdge` or `askLater`.
   *
   * @param started whether anything has played yet
   */
  isDue(now: number, started: boolean): boolean {
    if (this.#question === null) {
      return false;
    }
    const { plannedAt, askAt } = this.#question;
    return now >= (started ? askAt : Math.min(askAt, plannedAt + AGAIN_BEFORE_START_MS));
  }

  /** The edge was asked and cannot be used yet. */
  askLater(now: number, jitter: number): void {
    if (this.#question) {
      this.#planQuestion(now, jitter);
    }
  }

  /** The viewer wants the live: the edge may be asked at once. */
  askSoon(now: number): void {
    if (this.#question) {
      this.#question.askAt = now;
    }
  }

  #planQuestion(now: number, jitter: number): void {
    const wait = AGAIN_MS * 2 ** Math.max(0, this.#shortLives - 1);
    this.#question = { plannedAt: now, askAt: now + wait * (0.75 + 0.5 * jitter) };
  }
}
