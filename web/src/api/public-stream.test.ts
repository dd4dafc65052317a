import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { askFirst, getStreamOnce } from "./public-stream";

/** What the server has been asked; its answers are numbered. */
let asked: string[];

beforeEach(() => {
  asked = [];
  vi.stubGlobal("fetch", async (path: string) => {
    asked.push(path);
    return Response.json({ title: `answer ${asked.length}` });
  });
});
afterEach(() => vi.unstubAllGlobals());

const signal = new AbortController().signal;

test("the page is given the answer that was asked for before it came, and then new ones", async () => {
  const first = askFirst("a");
  expect(await getStreamOnce("a", signal)).toBe(await first);
  expect(asked).toEqual(["/api/streams/a"]);
  expect(await getStreamOnce("a", signal)).toEqual({ title: "answer 2" });
});

test("the answer about another stream is none", async () => {
  void askFirst("a");
  expect(await getStreamOnce("b", signal)).toEqual({ title: "answer 2" });
  expect(asked).toEqual(["/api/streams/a", "/api/streams/b"]);
});
