import { describe, expect, test } from "vitest";
import { bufferedAhead, nextBufferedStart } from "./buffer";
import { phaseOf, type Signals } from "./phase";
import { qualitiesOf, qualityName } from "./quality";
import { RetryWindow } from "./retry-window";

describe("phase", () => {
  const watching: Signals = {
    listEnded: false,
    mediaEnded: false,
    started: true,
    bufferedAhead: 5,
    troubled: false,
    givenUp: false,
  };

  test("before the first picture the player connects, also through trouble", () => {
    expect(phaseOf({ ...watching, started: false })).toBe("connecting");
    expect(phaseOf({ ...watching, started: false, troubled: true, bufferedAhead: 0 })).toBe(
      "connecting",
    );
  });

  test("trouble is told only when the picture stands", () => {
    expect(phaseOf({ ...watching, troubled: true })).toBe("playing");
    expect(phaseOf({ ...watching, troubled: true, bufferedAhead: 0.1 })).toBe("reconnecting");
  });

  test("an empty buffer alone is no trouble yet", () => {
    expect(phaseOf({ ...watching, bufferedAhead: 0 })).toBe("playing");
  });

  test("what is buffered is watched before the stream counts as lost", () => {
    expect(phaseOf({ ...watching, troubled: true, givenUp: true })).toBe("playing");
    expect(phaseOf({ ...watching, troubled: true, givenUp: true, bufferedAhead: 0 })).toBe("lost");
  });

  test("it has ended when the last frame was shown, not when ENDLIST came", () => {
    expect(phaseOf({ ...watching, listEnded: true })).toBe("playing");
    expect(phaseOf({ ...watching, listEnded: true, mediaEnded: true, bufferedAhead: 0 })).toBe(
      "ended",
    );
  });
});

describe("retry window", () => {
  test("is over when trouble lasted its length, counted from the first failure", () => {
    const window = new RetryWindow(60_000);
    window.open(1_000);
    window.open(50_000);
    expect(window.isOver(60_999)).toBe(false);
    expect(window.isOver(61_000)).toBe(true);
  });

  test("progress begins a new count", () => {
    const window = new RetryWindow(60_000);
    window.open(0);
    window.close();
    expect(window.isOpen).toBe(false);
    window.open(59_000);
    expect(window.isOver(100_000)).toBe(false);
  });

  test("waits grow to five seconds and no further, and progress makes them short again", () => {
    const window = new RetryWindow(60_000);
    const middle = 0.5;
    const delays = [1, 2, 3, 4, 5].map(() => window.nextDelay(middle));
    expect(delays).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
    window.close();
    expect(window.nextDelay(middle)).toBe(1_000);
  });

  test("jitter spreads viewers by a quarter either way", () => {
    expect(new RetryWindow(1).nextDelay(0)).toBe(750);
    expect(new RetryWindow(1).nextDelay(1)).toBe(1_250);
  });
});

describe("quality", () => {
  const level = (url: string, width: number, height: number) => ({ url: [url], width, height });

  test("is named by its rung: 900 lines fill the 1080p rung", () => {
    expect(qualityName(level("http://h/live-streams/x/1080p/playlist.m3u8", 1600, 900))).toBe(
      "1080p",
    );
  });

  test("falls back to the short side, portrait too", () => {
    expect(qualityName(level("http://h/720/index.m3u8", 720, 1280))).toBe("720p");
  });

  test("without video it is audio", () => {
    expect(qualityName(level("http://h/live-streams/x/audio/playlist.m3u8?v=1", 0, 0))).toBe(
      "Audio",
    );
    expect(qualityName(level("http://h/a.m3u8", 0, 0))).toBe("Audio");
  });

  test("is listed highest first, whatever the playlist's order", () => {
    const listed = qualitiesOf([
      level("http://h/360p/playlist.m3u8", 640, 360),
      level("http://h/1080p/playlist.m3u8", 1920, 1080),
      level("http://h/720p/playlist.m3u8", 1280, 720),
    ]);
    expect(listed).toEqual([
      { index: 1, name: "1080p" },
      { index: 2, name: "720p" },
      { index: 0, name: "360p" },
    ]);
  });
});

describe("buffer", () => {
  const ranges = (...pairs: [number, number][]): TimeRanges => ({
    length: pairs.length,
    start: (i) => pairs[i]?.[0] ?? 0,
    end: (i) => pairs[i]?.[1] ?? 0,
  });

  test("counts from the play position", () => {
    expect(bufferedAhead(ranges([0, 10]), 4)).toBe(6);
    expect(bufferedAhead(ranges([0, 10]), 12)).toBe(0);
    expect(bufferedAhead(ranges(), 0)).toBe(0);
  });

  test("steps over small holes and stops at real ones", () => {
    expect(bufferedAhead(ranges([0, 10], [10.2, 14]), 8)).toBe(6);
    expect(bufferedAhead(ranges([0, 10], [13, 14]), 8)).toBe(2);
  });

  test("tells where media goes on behind a hole", () => {
    expect(nextBufferedStart(ranges([0, 8], [12.7, 20]), 8)).toBe(12.7);
    expect(nextBufferedStart(ranges([0, 8]), 8)).toBe(null);
  });
});
