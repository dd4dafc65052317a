import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { PublicStream } from "../api/public-stream";

/** Screens that were opened: the real ones need a browser. */
const opened: { source: { src: string; lowLatencySrc: string | null }; close: () => void }[] = [];

vi.mock("./screen", () => ({
  openScreen: (source: { src: string; lowLatencySrc: string | null }) => {
    const screen = { source, close: vi.fn() };
    opened.push(screen);
    return screen;
  },
}));

const STREAM: PublicStream = {
  id: "0190",
  title: null,
  username: null,
  status: "live",
  hls_url: "/live-streams/0190/master.m3u8",
  ll_hls_url: "/stream/0190/master.m3u8",
};
const SOURCE = {
  src: "/live-streams/0190/master.m3u8",
  lowLatencySrc: "/stream/0190/master.m3u8",
};

let early: typeof import("./early-screen");

beforeEach(async () => {
  vi.useFakeTimers();
  vi.resetModules();
  opened.length = 0;
  early = await import("./early-screen");
});
afterEach(() => vi.useRealTimers());

test("the page takes the screen that plays already, once", async () => {
  await early.openEarly(Promise.resolve(STREAM));
  const screen = await early.screenFor(SOURCE);
  expect(opened).toEqual([screen]);
  expect(screen.source).toEqual(SOURCE);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(screen.close).not.toHaveBeenCalled();
  expect(await early.screenFor(SOURCE)).not.toBe(screen);
});

test("a page that comes before the stream is known takes the same screen", async () => {
  let know = (_: PublicStream) => {};
  void early.openEarly(new Promise((resolve) => (know = resolve)));
  const taken = early.screenFor(SOURCE);
  know(STREAM);
  expect(opened).toEqual([await taken]);
});

test("a page that shows another live closes it", async () => {
  await early.openEarly(Promise.resolve(STREAM));
  const other = await early.screenFor({
    src: "/live-streams/0191/master.m3u8",
    lowLatencySrc: null,
  });
  expect(opened).toHaveLength(2);
  expect(opened[0]?.close).toHaveBeenCalled();
  expect(other).toBe(opened[1]);
});

test("one that nobody takes does not play for ever", async () => {
  await early.openEarly(Promise.resolve(STREAM));
  await vi.advanceTimersByTimeAsync(20_000);
  expect(opened[0]?.close).toHaveBeenCalled();
});

test("nothing is opened for a stream that is off air, or that could not be asked for", async () => {
  await early.openEarly(Promise.resolve({ ...STREAM, status: "active" }));
  await early.openEarly(Promise.reject(new Error("away")));
  await vi.advanceTimersByTimeAsync(100);
  expect(opened).toEqual([]);
  expect((await early.screenFor(SOURCE)).source).toEqual(SOURCE);
});
