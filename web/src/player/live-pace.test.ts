import { describe, expect, test } from "vitest";
import { LivePace, TARGET_AHEAD_S } from "./live-pace";

/** Plays `seconds` at the rates that the pace gives, with parts of 200 ms coming in real time. */
function play(pace: LivePace, { aheadS, seconds, fromMs = 0 }: Run) {
  const rates: number[] = [];
  let ahead = aheadS;
  for (let ms = 0; ms < seconds * 1_000; ms += 100) {
    // A part each 200 ms, so that the buffer swings as it does in the field.
    ahead += ms % 200 === 0 ? 0.2 : 0;
    const rate = pace.rateFor(fromMs + ms, ahead);
    rates.push(rate);
    ahead = Math.max(0, ahead - rate * 0.1);
  }
  return { ahead, rates };
}
interface Run {
  aheadS: number;
  seconds: number;
  fromMs?: number;
}

describe("the pace of a live", () => {
  test("leaves a buffer near its target alone, however parts make it swing", () => {
    const { rates } = play(new LivePace(), { aheadS: TARGET_AHEAD_S - 0.1, seconds: 60 });
    expect(new Set(rates)).toEqual(new Set([1]));
  });

  test("takes a join that began too far back to the target, never faster than 1.25", () => {
    const { ahead, rates } = play(new LivePace(), { aheadS: 2, seconds: 15 });
    expect(Math.max(...rates)).toBe(1.25);
    expect(ahead).toBeGreaterThan(TARGET_AHEAD_S - 0.2);
    expect(ahead).toBeLessThan(TARGET_AHEAD_S + 0.2);
    expect(rates.at(-1)).toBe(1);
  });

  test("catches half a second up within four seconds", () => {
    const { ahead } = play(new LivePace(), { aheadS: TARGET_AHEAD_S + 0.5, seconds: 4 });
    expect(ahead).toBeLessThan(TARGET_AHEAD_S + 0.2);
  });

  test("slows down where it is too close, and only gently", () => {
    const { rates } = play(new LivePace(), { aheadS: 0, seconds: 20 });
    expect(Math.min(...rates)).toBe(0.95);
    expect(rates.at(-1)).toBe(1);
  });

  test("changes the rate in whole steps", () => {
    const { rates } = play(new LivePace(), { aheadS: 1.3, seconds: 10 });
    for (const rate of rates) {
      expect(Math.abs(rate * 20 - Math.round(rate * 20))).toBeLessThan(1e-9);
    }
  });

  test("keeps more ahead on a line that stalls, within bounds, and forgives it later", () => {
    const pace = new LivePace();
    for (let i = 0; i < 9; i += 1) {
      pace.stalled(i);
    }
    expect(pace.targetS).toBeCloseTo(1.25);
    pace.rateFor(120_100, 1);
    expect(pace.targetS).toBeCloseTo(1.05);
    for (let minutes = 4; minutes <= 10; minutes += 2) {
      pace.rateFor(minutes * 60_000 + 1_000, 1);
    }
    expect(pace.targetS).toBe(TARGET_AHEAD_S);
  });

  test("knows nothing of before a seek", () => {
    const pace = new LivePace();
    play(pace, { aheadS: 3, seconds: 2 });
    pace.restart();
    expect(pace.rateFor(2_100, TARGET_AHEAD_S)).toBe(1);
  });
});
