import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { firstPicture } from "./first-picture";

let video: HTMLVideoElement;
let closed: AbortController;
let come: boolean;

beforeEach(() => {
  vi.useFakeTimers();
  video = document.createElement("video");
  closed = new AbortController();
  come = false;
});
afterEach(() => vi.useRealTimers());

const wait = () => {
  void firstPicture(video, closed.signal).then(() => {
    come = true;
  });
  return vi.advanceTimersByTimeAsync(500);
};

test("the controls come once the picture moves", async () => {
  await wait();
  expect(come).toBe(false);
  video.dispatchEvent(new Event("playing"));
  await vi.advanceTimersByTimeAsync(0);
  expect(come).toBe(true);
});

test("they do not wait for a picture that is there", async () => {
  Object.defineProperty(video, "readyState", { value: HTMLMediaElement.HAVE_CURRENT_DATA });
  await wait();
  expect(come).toBe(true);
});

test("they come without one after a while", async () => {
  await wait();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(come).toBe(true);
});

test("nobody waits for the picture of a screen that was closed", async () => {
  await wait();
  closed.abort();
  await vi.advanceTimersByTimeAsync(0);
  expect(come).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
});
