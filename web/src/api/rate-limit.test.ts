import { describe, expect, test } from "vitest";
import { RateLimit, retryAfterMs } from "./rate-limit";

describe("a server that refuses", () => {
  test("is left alone for as long as it asks", () => {
    const limit = new RateLimit();
    expect(limit.waitMs(0)).toBe(0);
    limit.refused(1_000, 30_000, 0);
    expect(limit.waitMs(1_000)).toBe(30_000);
    expect(limit.waitMs(30_999)).toBe(1);
    expect(limit.waitMs(31_000)).toBe(0);
  });

  test("is never asked before that, and pages come back at different times", () => {
    const waits = [0, 0.5, 1].map((jitter) => {
      const limit = new RateLimit();
      limit.refused(0, 20_000, jitter);
      return limit.waitMs(0);
    });
    expect(waits).toEqual([20_000, 25_000, 30_000]);
  });

  test("is asked ever more rarely when it says nothing, and within minutes all the same", () => {
    const limit = new RateLimit();
    const waits = Array.from({ length: 9 }, (_, i) => {
      limit.refused(i, null, 0);
      return limit.waitMs(i);
    });
    expect(waits).toEqual([
      5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000,
    ]);
  });

  test("is not believed a wait without end", () => {
    const limit = new RateLimit();
    limit.refused(0, 9e15, 0);
    expect(limit.waitMs(0)).toBe(300_000);
  });

  test("has a clean slate once it answers", () => {
    const limit = new RateLimit();
    limit.refused(0, null, 0);
    limit.refused(0, null, 0);
    limit.answered();
    limit.refused(0, null, 0);
    expect(limit.waitMs(0)).toBe(5_000);
  });
});

test("Retry-After has seconds or a date", () => {
  const now = Date.UTC(2026, 0, 1, 12, 0, 0);
  expect(retryAfterMs("7", now)).toBe(7_000);
  expect(retryAfterMs("Thu, 01 Jan 2026 12:00:30 GMT", now)).toBe(30_000);
  expect(retryAfterMs("Thu, 01 Jan 2026 11:00:00 GMT", now)).toBe(0);
  expect(retryAfterMs("soon", now)).toBeNull();
  expect(retryAfterMs(null, now)).toBeNull();
});
