import { afterEach, expect, test, vi } from "vitest";
import { ApiError, getJson } from "./http";
import { isOnAir, type PublicStream, titleOf } from "./public-stream";
import { isNotFound, pollDelay } from "./streams";

const stream = (fields: Partial<PublicStream>): PublicStream => ({
  id: "1",
  title: null,
  username: null,
  status: "live",
  ...fields,
});

afterEach(() => vi.unstubAllGlobals());

test("a reconnecting broadcaster is still on air, an idle one is not", () => {
  expect(isOnAir(stream({ status: "live" }))).toBe(true);
  expect(isOnAir(stream({ status: "reconnecting" }))).toBe(true);
  expect(isOnAir(stream({ status: "active" }))).toBe(false);
});

test("a blank title is replaced", () => {
  expect(titleOf(stream({ title: "  " }))).toBe("Untitled broadcast");
  expect(titleOf(stream({ title: "Harbour" }))).toBe("Harbour");
});

const healthy = { error: null, dataUpdatedAt: 50_000, errorUpdatedAt: 0, errorUpdateCount: 0 };

test("polling is steady while answers come", () => {
  expect(pollDelay(healthy)).toBe(5_000);
});

test("polling slows down the longer it fails, and not without end", () => {
  const failing = (forMs: number) =>
    pollDelay({
      ...healthy,
      error: new Error("away"),
      errorUpdatedAt: 50_000 + forMs,
      errorUpdateCount: 3,
    });
  expect([1_000, 10_000, 30_000, 600_000].map(failing)).toEqual([5_000, 10_000, 30_000, 60_000]);
});

test("polling slows down too when there never was an answer", () => {
  const failing = (errorUpdateCount: number) =>
    pollDelay({ error: new Error("away"), dataUpdatedAt: 0, errorUpdatedAt: 1, errorUpdateCount });
  expect([1, 2, 3, 9].map(failing)).toEqual([5_000, 10_000, 20_000, 60_000]);
});

test("a refusal carries the problem's code and detail", async () => {
  const problem = { status: 404, code: "not_found", detail: "No such stream.", request_id: "r1" };
  vi.stubGlobal("fetch", async () => new Response(JSON.stringify(problem), { status: 404 }));
  const error = await getJson("/api/streams/1").catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ status: 404, code: "not_found", message: "No such stream." });
  expect(isNotFound(error)).toBe(true);
});

test("a refusal that is no problem document still is an ApiError", async () => {
  vi.stubGlobal("fetch", async () => new Response("<html>Bad gateway</html>", { status: 502 }));
  const error = await getJson("/api/streams/1").catch((caught: unknown) => caught);
  expect(error).toMatchObject({ status: 502, code: "unknown" });
  expect(isNotFound(error)).toBe(false);
});
