import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Heartbeat } from "./heartbeat";
import type { ApiError } from "./http";

interface Beat {
  atMs: number;
  path: string;
  session: string | undefined;
}

/** What the server was sent. */
let beats: Beat[];
/** What it answers; a rejection is a network that is away. */
let answer: (signal: AbortSignal) => Response | Promise<Response>;
/** What the page was told. */
let counts: number[];
let running: Heartbeat[];
let startedAt: number;

beforeEach(() => {
  // Sessions and waits are remembered for the page's life: each test has a page of its own.
  vi.resetModules();
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0);
  vi.spyOn(AbortSignal, "timeout").mockImplementation((ms) => {
    const deadline = new AbortController();
    setTimeout(() => deadline.abort(), ms);
    return deadline.signal;
  });
  beats = [];
  counts = [];
  running = [];
  startedAt = performance.now();
  answer = () => counted(1);
  vi.stubGlobal("fetch", async (path: string, { body, signal, method }: RequestInit) => {
    if (method === "POST" && signal) {
      const session = JSON.parse(String(body)).session_id;
      beats.push({ atMs: performance.now() - startedAt, path, session });
      return answer(signal);
    }
    return answer(new AbortController().signal);
  });
});

afterEach(() => {
  for (const heartbeat of running) {
    heartbeat.stop();
  }
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const counted = (viewer_count: number | null, session_id = "s1") =>
  Response.json({ session_id, viewer_count });
const refusal = (retryAfter: string) =>
  Response.json({ code: "rate_limited" }, { status: 429, headers: { "retry-after": retryAfter } });
const never = (signal: AbortSignal) =>
  new Promise<Response>((_, reject) => signal.addEventListener("abort", () => reject(new Error())));

async function start(id = "a"): Promise<Heartbeat> {
  const { Heartbeat } = await import("./heartbeat");
  const heartbeat = new Heartbeat(id, (viewers) => counts.push(viewers));
  running.push(heartbeat);
  return heartbeat;
}

const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1_000);
const times = () => beats.map(({ atMs }) => Math.round(atMs / 100) / 10);
const sessions = () => beats.map(({ session }) => session);

describe("a viewer who watches", () => {
  test("beats each ten seconds, with the session that the first beat was given", async () => {
    await start();
    await pass(35);
    expect(times()).toEqual([1, 11, 21, 31]);
    expect(sessions()).toEqual([undefined, "s1", "s1", "s1"]);
    expect(beats[0]?.path).toBe("/api/streams/a/viewers");
  });

  test("lets the picture begin first, and does not beat with the crowd that joined then", async () => {
    for (const [i, random] of [0, 0.5, 1].entries()) {
      vi.mocked(Math.random).mockReturnValue(random);
      await start(`stream ${i}`);
    }
    await pass(6);
    expect(times()).toEqual([1, 3, 5]);
  });

  test("takes the session that replaces one which the server does not know", async () => {
    await start();
    await pass(5);
    answer = () => counted(1, "s2");
    await pass(20);
    expect(sessions()).toEqual([undefined, "s1", "s2"]);
  });

  test("hears how many watch, and nothing while that is not known", async () => {
    answer = () => counted(7);
    await start();
    await pass(5);
    answer = () => counted(null);
    await pass(10);
    expect(beats).toHaveLength(2);
    expect(counts).toEqual([7]);
  });
});

describe("a viewer who stops", () => {
  test("is heard no more, not even by a beat that is under way", async () => {
    let aborted = false;
    answer = (signal) => {
      signal.addEventListener("abort", () => {
        aborted = true;
      });
      return never(signal);
    };
    const heartbeat = await start();
    await pass(2);
    heartbeat.stop();
    await pass(60);
    expect(aborted).toBe(true);
    expect(beats).toHaveLength(1);
    expect(counts).toEqual([]);
  });

  test("and goes on is the same viewer, and beats no faster for it", async () => {
    for (let i = 0; i < 5; i += 1) {
      const heartbeat = await start();
      await pass(3);
      heartbeat.stop();
    }
    await start();
    await pass(10);
    expect(sessions()).toEqual([undefined, "s1", "s1"]);
    const [first = 0, second = 0, third = 0] = times();
    expect(second - first).toBeGreaterThanOrEqual(10);
    expect(third - second).toBeGreaterThanOrEqual(10);
  });

  test("for longer than the server remembers comes back by the same session", async () => {
    const heartbeat = await start();
    await pass(5);
    heartbeat.stop();
    await pass(120);
    await start();
    await pass(2);
    expect(times()).toEqual([1, 126]);
    expect(sessions()).toEqual([undefined, "s1"]);
  });

  test("and watches another stream is a viewer of that one", async () => {
    const heartbeat = await start("a");
    await pass(5);
    heartbeat.stop();
    await start("b/c");
    await pass(5);
    expect(sessions()).toEqual([undefined, undefined]);
    expect(beats[1]?.path).toBe("/api/streams/b%2Fc/viewers");
  });
});

describe("a server that does not answer well", () => {
  test.each([
    ["is away", () => Promise.reject(new TypeError("Failed to fetch"))],
    ["fails", () => Response.json({ code: "unavailable" }, { status: 503 })],
    ["answers what is no JSON", () => new Response("<html>")],
  ])("that %s is asked again in the same rhythm, in silence", async (_, failing) => {
    const told = vi.spyOn(console, "error");
    answer = failing;
    await start();
    await pass(25);
    answer = () => counted(3);
    await pass(10);
    expect(times()).toEqual([1, 11, 21, 31]);
    expect(counts).toEqual([3]);
    expect(told).not.toHaveBeenCalled();
  });

  test("that never answers is not waited for beyond the next beat", async () => {
    answer = never;
    await start();
    await pass(25);
    expect(times()).toEqual([1, 11, 21]);
  });

  test("that refuses is left alone for as long as it asks", async () => {
    await start();
    await pass(5);
    answer = () => refusal("25");
    await pass(10);
    answer = () => counted(3);
    await pass(35);
    expect(times()).toEqual([1, 11, 36, 46]);
  });

  test("that would have a beat at once gets it in the rhythm", async () => {
    await start();
    await pass(5);
    answer = () => refusal("1");
    await pass(30);
    expect(times().slice(0, 3)).toEqual([1, 11, 21]);
  });
});

describe("refusals of requests and of heartbeats", () => {
  const ask = async () => {
    const { getJson } = await import("./http");
    return getJson("/api/streams/a").catch((error: ApiError) => error.code);
  };

  test("are apart for a viewer who has a session", async () => {
    await start();
    await pass(5);
    answer = () => refusal("60");
    await pass(10);
    answer = () => counted(1);
    expect(await ask()).toEqual({ session_id: "s1", viewer_count: 1 });

    answer = () => refusal("600");
    expect(await ask()).toBe("rate_limited");
    answer = () => counted(1);
    await pass(70);
    expect(times()).toEqual([1, 11, 71, 81]);
  });

  test("are one for the beat without, which counts as a request: it waits for those", async () => {
    await start();
    answer = () => refusal("20");
    expect(await ask()).toBe("rate_limited");
    answer = () => counted(1);
    await pass(40);
    expect(times()).toEqual([20, 30, 40]);
  });

  test("… and those for it", async () => {
    answer = () => refusal("20");
    await start();
    await pass(5);
    answer = () => counted(1);
    expect(await ask()).toBe("rate_limited");
    await pass(20);
    expect(times()).toEqual([1, 21]);
    expect(await ask()).toEqual({ session_id: "s1", viewer_count: 1 });
  });
});
