/** Who watches the stand-in's stream, by heartbeats as the stream service counts them. */

/** A session counts once it is as old. */
const COUNTS_FROM_MS = 5_000;
/** … and until it was not heard for this long. */
const EXPIRY_MS = 30_000;
/** One that beats faster is told to wait. */
const LEAST_GAP_MS = 1_000;

export class FakeViewers {
  /** By session: when it was issued, and when it was heard last as one that counts. */
  #sessions = new Map();

  /** How many viewers were ever told apart. */
  get issued() {
    return this.#sessions.size;
  }

  get count() {
    const now = performance.now();
    const heard = ({ heardAt }) => heardAt !== null && now - heardAt < EXPIRY_MS;
    return [...this.#sessions.values()].filter(heard).length;
  }

  /** The session that goes on, or the one to wait for `waitMs`. */
  beat(session) {
    const now = performance.now();
    const known = this.#sessions.get(session);
    if (!known) {
      const issued = `session-${this.issued + 1}`;
      this.#sessions.set(issued, { issuedAt: now, heardAt: null });
      return { session: issued, waitMs: 0 };
    }
    const gap = known.heardAt === null ? LEAST_GAP_MS : now - known.heardAt;
    if (gap < LEAST_GAP_MS) {
      return { session, waitMs: LEAST_GAP_MS - gap };
    }
    if (now - known.issuedAt >= COUNTS_FROM_MS) {
      known.heardAt = now;
    }
    return { session, waitMs: 0 };
  }
}
