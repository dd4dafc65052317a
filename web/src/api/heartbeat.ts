/**
 * Has a viewer counted: the server counts those who send it a heartbeat each 10 s (docs/API.md). It is in
 * no hurry, and what goes wrong with it is told to nobody: the next beat makes up for one that was lost.
 */

import { addressLimit } from "./http";
import { RateLimit, retryAfterMs } from "./rate-limit";

const BEAT_MS = 10_000;
/** What else begins with the picture, the controls' code above all, has the line to itself for so long. */
const FIRST_MS = 1_000;
/** Added at random to that: a crowd that joined together does not beat together. */
const SPREAD_MS = 4_000;
/** Longest wait for an answer; the next beat is due soon after. */
const TIMEOUT_MS = 8_000;

interface HeartbeatAnswer {
  session_id: string;
  /** `null` while that cannot be counted. */
  viewer_count: number | null;
}

/** What the server knows a viewer of one stream by; a viewer who comes back is not counted twice. */
interface Session {
  /** None before the first answer. The server replaces one that it does not know. */
  id?: string;
  /** When the next beat is due, by the page's clock; also for one who paused or left meanwhile. */
  dueAt: number;
}

/** By stream; as many as were watched since the page was loaded. */
const sessions = new Map<string, Session>();

/**
 * The server counts beats that have their session apart from requests, so neither being refused says
 * anything about the other. One without is counted as any request of this address, and keeps that limit.
 */
const sessionLimit = new RateLimit();

/** Beats from when it is made until it is stopped. */
export class Heartbeat {
  readonly #session: Session;
  readonly #stopped = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param onCount told how many watch, whenever the server says so */
  constructor(
    private readonly streamId: string,
    private readonly onCount: (viewers: number) => void,
  ) {
    this.#session = sessionOf(streamId);
    const soon = performance.now() + FIRST_MS + SPREAD_MS * Math.random();
    this.#beatAt(Math.max(soon, this.#session.dueAt));
  }

  stop(): void {
    this.#stopped.abort();
    clearTimeout(this.#timer);
  }

  get #limit(): RateLimit {
    return this.#session.id === undefined ? addressLimit : sessionLimit;
  }

  #beatAt(at: number): void {
    const now = performance.now();
    this.#timer = setTimeout(this.#beat, Math.max(at - now, this.#limit.waitMs(now)));
  }

  #beat = async (): Promise<void> => {
    const now = performance.now();
    if (this.#limit.waitMs(now) > 0) {
      // Something else was refused meanwhile.
      this.#beatAt(now);
      return;
    }
    this.#session.dueAt = now + BEAT_MS;
    await this.#send().catch(() => undefined);
    if (!this.#stopped.signal.aborted) {
      // Set by the answer, not by the timer before it: in a hidden tab, which may well play on,
      // browsers hold chains of timers back to one a minute.
      this.#beatAt(this.#session.dueAt);
    }
  };

  async #send(): Promise<void> {
    const limit = this.#limit;
    const { signal } = this.#stopped;
    const response = await fetch(`/api/streams/${encodeURIComponent(this.streamId)}/viewers`, {
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/json" },
      body: JSON.stringify({ session_id: this.#session.id }),
      // Who leaves has nothing more to say.
      keepalive: false,
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    if (response.status === 429) {
      const asked = retryAfterMs(response.headers.get("retry-after"), Date.now());
      limit.refused(performance.now(), asked, Math.random());
      return;
    }
    limit.answered();
    if (!response.ok) {
      return;
    }
    const answer = (await response.json()) as HeartbeatAnswer;
    this.#session.id = answer.session_id;
    if (typeof answer.viewer_count === "number" && !signal.aborted) {
      this.onCount(answer.viewer_count);
    }
  }
}

function sessionOf(streamId: string): Session {
  const known = sessions.get(streamId);
  if (known) {
    return known;
  }
  const session: Session = { dueAt: Number.NEGATIVE_INFINITY };
  sessions.set(streamId, session);
  return session;
}
