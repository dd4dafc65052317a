import { beforeEach, describe, expect, test } from "vitest";
import { LiveKeeper } from "./live-keeper";
import { TARGET_AHEAD_S } from "./live-pace";

/** A media element whose playback is what the test says. */
class FakeVideo extends EventTarget {
  paused = false;
  seeking = false;
  readyState = 4;
  playbackRate = 1;
  bufferedTo = 100;
  /** Where the page has sent it. */
  readonly seeks: number[] = [];
  #time = 99.5;

  get currentTime() {
    return this.#time;
  }

  set currentTime(to: number) {
    this.seeks.push(to);
    this.#time = to;
    this.dispatchEvent(new Event("seeking"));
  }

  /** The picture moves on, without a seek. */
  playTo(time: number) {
    this.#time = time;
  }

  get buffered(): TimeRanges {
    return { length: 1, start: () => 0, end: () => this.bufferedTo };
  }
}

describe("the keeper of the live", () => {
  let video: FakeVideo;
  let live: number;
  let now: number;
  let keeper: LiveKeeper;

  const ticks = (count: number, source: "low-latency" | "plain" = "low-latency") => {
    for (let i = 0; i < count; i += 1) {
      now += 100;
      keeper.tick(source);
    }
  };

  beforeEach(() => {
    video = new FakeVideo();
    live = 99.4;
    now = 1_000;
    keeper = new LiveKeeper(
      video as unknown as HTMLVideoElement,
      () => live,
      () => now,
    );
    ticks(1);
  });

  const stall = (ms: number) => {
    video.bufferedTo = video.currentTime;
    video.dispatchEvent(new Event("waiting"));
    ticks(ms / 100);
  };

  test("plays faster while there is more ahead than needed", () => {
    video.bufferedTo = video.currentTime + TARGET_AHEAD_S + 0.6;
    ticks(20);
    expect(video.playbackRate).toBe(1.25);
    video.bufferedTo = video.currentTime + TARGET_AHEAD_S;
    ticks(20);
    expect(video.playbackRate).toBe(1);
    expect(video.seeks).toEqual([]);
  });

  test("leaves the rate of the plain playlists alone", () => {
    video.bufferedTo = video.currentTime + 6;
    ticks(20, "plain");
    expect(video.playbackRate).toBe(1);
  });

  test("jumps to live after a stall", () => {
    stall(1_500);
    expect(video.seeks).toEqual([]);
    live = 101;
    video.bufferedTo = 101.6;
    ticks(1);
    expect(video.seeks).toEqual([101]);
  });

  test("does not jump for a moment's stall, which the rate makes good", () => {
    stall(300);
    live = 99.8;
    video.bufferedTo = 100.4;
    ticks(1);
    expect(video.seeks).toEqual([]);
  });

  test("jumps within what is buffered, if that is nearly as good", () => {
    stall(1_500);
    live = 101;
    video.bufferedTo = 101.2;
    ticks(1);
    expect(video.seeks).toHaveLength(1);
    expect(video.seeks[0]).toBeCloseTo(100.8);
  });

  test("begins close to live, however long the beginning took", () => {
    keeper.restart();
    live = 101;
    video.bufferedTo = 101.6;
    ticks(1);
    expect(video.seeks).toEqual([101]);
  });

  test("shows a join's first picture before live, and goes there once something is there to play", () => {
    keeper.restart();
    live = 101;
    video.bufferedTo = 99.7;
    ticks(1);
    video.bufferedTo = 100.6;
    ticks(1);
    expect(video.seeks).toEqual([]);
    video.bufferedTo = 101;
    ticks(1);
    expect(video.seeks).toHaveLength(1);
    expect(video.seeks[0]).toBeCloseTo(100.6);
  });

  test("goes there all the same where that does not come for a second", () => {
    keeper.restart();
    live = 102;
    video.bufferedTo = 99.7;
    ticks(10);
    expect(video.seeks).toEqual([]);
    ticks(1);
    expect(video.seeks).toEqual([102]);
  });

  test("does not take a join that stutters for a line that does", () => {
    keeper.restart();
    live = 101;
    ticks(1);
    stall(300);
    video.bufferedTo = 101.6;
    ticks(2);
    video.bufferedTo = video.currentTime + TARGET_AHEAD_S;
    ticks(20);
    expect(video.playbackRate).toBe(1);
  });

  test("leaves a viewer alone who has sought back, also after a stall", () => {
    video.currentTime = 60;
    ticks(30);
    stall(1_500);
    video.bufferedTo = 100;
    ticks(30);
    expect(video.seeks).toEqual([60]);
    expect(video.playbackRate).toBe(1);
    expect(keeper.follows).toBe(false);
  });

  test("takes that viewer to live when asked", () => {
    video.currentTime = 60;
    ticks(2);
    keeper.goLive();
    expect(video.seeks).toEqual([60, live]);
    expect(keeper.follows).toBe(true);
  });

  test("its own jumps are no choice of the viewer", () => {
    stall(1_500);
    live = 130;
    video.bufferedTo = 130.6;
    ticks(1);
    expect(keeper.follows).toBe(true);
  });

  test("a long pause is left alone", () => {
    video.paused = true;
    ticks(10);
    live += 60;
    video.paused = false;
    video.dispatchEvent(new Event("play"));
    ticks(30);
    expect(video.seeks).toEqual([]);
    expect(keeper.follows).toBe(false);
  });

  test("jumps when a live falls far behind without a stall, and not again at once", () => {
    live = 104;
    ticks(1);
    live = 120;
    ticks(20);
    expect(video.seeks).toHaveLength(1);
    ticks(20);
    expect(video.seeks).toHaveLength(2);
  });

  describe("while it is not known where playback is", () => {
    const seek = (to: number) => {
      keeper.sought(to);
      video.currentTime = to;
    };

    test("a step back right after another source came is a choice of the past", () => {
      keeper.restart();
      seek(80);
      ticks(40);
      expect(video.seeks).toEqual([80]);
      expect(keeper.follows).toBe(false);
    });

    test("and so is one while a jump to live waits for its media", () => {
      stall(1_500);
      live = 130;
      video.bufferedTo = 130.6;
      ticks(1);
      expect(video.seeks).toEqual([130]);
      seek(110);
      ticks(60);
      expect(video.seeks).toEqual([130, 110]);
      expect(keeper.follows).toBe(false);
    });

    test("steps of the engine to where it begins are none", () => {
      keeper.restart();
      video.currentTime = 60;
      ticks(1);
      expect(keeper.follows).toBe(true);
    });

    test("a long pause is a choice of the past, a short one is caught up", () => {
      for (const [pausedS, follows] of [
        [3, true],
        [30, false],
      ] as const) {
        keeper.restart();
        video.dispatchEvent(new Event("pause"));
        now += pausedS * 1_000;
        video.dispatchEvent(new Event("play"));
        expect(keeper.follows).toBe(follows);
      }
    });
  });
});
