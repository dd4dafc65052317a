import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, render, screen } from "@testing-library/react";
import { MemoryRouter, Route, Routes } from "react-router";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { LivePlayerProps } from "../player/live-player";

/** Says whether the player is being watched. */
let watches: (watches: boolean) => void;
vi.mock("../player/live-player", () => ({
  LivePlayer: ({ onWatching }: LivePlayerProps) => {
    watches = (it) => act(() => onWatching?.(it));
    return null;
  },
}));

const STREAM = { id: "0190", title: "Harbour", username: "mira", hls_url: "/master.m3u8" };
/** What the server says of the stream. */
let status: string | null;
let polled: number | null;
/** … and to a heartbeat. */
let counted: number | null;
let beats: number;

beforeEach(() => {
  vi.resetModules();
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0);
  status = "live";
  polled = 0;
  counted = 1;
  beats = 0;
  vi.stubGlobal("fetch", async (path: string) => {
    if (path.endsWith("/viewers")) {
      beats += 1;
      return Response.json({ session_id: "s1", viewer_count: counted });
    }
    return status === null
      ? Response.json({ code: "not_found" }, { status: 404 })
      : Response.json({ ...STREAM, status, viewer_count: polled });
  });
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
const shown = () => screen.getByTestId("viewers").textContent;

async function open() {
  const { WatchPage } = await import("./watch");
  const page = render(
    <QueryClientProvider client={new QueryClient()}>
      <MemoryRouter initialEntries={["/live/0190"]}>
        <Routes>
          <Route path="/live/:id" element={<WatchPage />} />
        </Routes>
      </MemoryRouter>
    </QueryClientProvider>,
  );
  await pass(100);
  return page;
}

test("a viewer is counted while the stream plays, and not before, not while it is paused, nor after", async () => {
  const page = await open();
  await pass(30_000);
  expect(beats).toBe(0);
  watches(true);
  await pass(15_000);
  expect(beats).toBe(2);
  watches(false);
  await pass(30_000);
  expect(beats).toBe(2);
  watches(true);
  await pass(2_000);
  expect(beats).toBe(3);
  page.unmount();
  await pass(30_000);
  expect(beats).toBe(3);
});

test("who watches the rest of a broadcast that is over is not counted", async () => {
  await open();
  watches(true);
  await pass(2_000);
  status = "active";
  await pass(5_000);
  await pass(30_000);
  expect(beats).toBe(1);
});

test("nor is who watches one that has been deleted", async () => {
  await open();
  watches(true);
  await pass(2_000);
  status = null;
  await pass(5_000);
  await pass(30_000);
  expect(beats).toBe(1);
});

test("the page shows what the server says to a heartbeat, until it is told something newer", async () => {
  await open();
  expect(shown()).toBe("0");
  watches(true);
  await pass(1_500);
  expect(shown()).toBe("1");
  polled = 3;
  await pass(5_000);
  expect(shown()).toBe("3");
});

test("what is shown stays while viewers cannot be counted", async () => {
  polled = 5;
  counted = null;
  await open();
  watches(true);
  await pass(1_500);
  expect(beats).toBe(1);
  expect(shown()).toBe("5");
});
