import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, render, screen } from "@testing-library/react";
import { MemoryRouter, Route, Routes } from "react-router";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

const STREAM = { id: "0190", title: "Harbour at dusk", username: "mira", status: "active" };

/** What the server has been asked. */
let asked: string[];
/** What it answers. */
let answer: (path: string) => Response;

beforeEach(() => {
  // The wait is remembered for the page's life: each test has a page of its own.
  vi.resetModules();
  vi.useFakeTimers();
  asked = [];
  vi.stubGlobal("fetch", async (path: string) => {
    asked.push(path);
    return answer(path);
  });
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const refusal = () =>
  Response.json(
    { code: "rate_limited", detail: "Too many requests." },
    { status: 429, headers: { "retry-after": "20" } },
  );
const list = () => Response.json({ items: [{ ...STREAM, status: "live" }], next_cursor: null });

async function open(path: string): Promise<void> {
  const { LiveNowPage } = await import("./live-now");
  const { WatchPage } = await import("./watch");
  render(
    <QueryClientProvider client={new QueryClient()}>
      <MemoryRouter initialEntries={[path]}>
        <Routes>
          <Route path="/" element={<LiveNowPage />} />
          <Route path="/live/:id" element={<WatchPage />} />
        </Routes>
      </MemoryRouter>
    </QueryClientProvider>,
  );
  await vi.advanceTimersByTimeAsync(100);
}

test("who is told to wait waits as long, alarms nobody, and then shows what there is", async () => {
  answer = refusal;
  await open("/");
  await vi.advanceTimersByTimeAsync(19_000);
  expect(asked).toHaveLength(1);
  expect(screen.getByRole("status", { name: "Loading" })).toBeTruthy();
  expect(screen.queryByTestId("live-error")).toBeNull();
  answer = list;
  await vi.advanceTimersByTimeAsync(12_000);
  expect(screen.getByTestId("live-card")).toBeTruthy();
});

test("a list that is there stays, without a word of it being out of date", async () => {
  answer = list;
  await open("/");
  answer = refusal;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toHaveLength(2);
  expect(screen.getByTestId("live-card")).toBeTruthy();
  expect(screen.queryByText(/not up to date/i)).toBeNull();
});

test("nothing else is asked meanwhile, by the return to the tab as little as by another page", async () => {
  answer = refusal;
  await open("/");
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  cleanup();
  await open("/live/0190");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toEqual(["/api/streams/public?live=true"]);
  expect(screen.queryByTestId("watch-error")).toBeNull();
  answer = () => Response.json(STREAM);
  await vi.advanceTimersByTimeAsync(25_000);
  expect(asked.at(1)).toBe("/api/streams/0190");
  expect(screen.getByTestId("stream-title").textContent).toBe(STREAM.title);
});
