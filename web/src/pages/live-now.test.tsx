import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { MemoryRouter } from "react-router";
import { afterEach, expect, test, vi } from "vitest";
import { LiveNowPage } from "./live-now";

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function show(answer: () => Response): void {
  vi.stubGlobal(
    "fetch",
    vi.fn(async () => answer()),
  );
  render(
    <QueryClientProvider client={new QueryClient()}>
      <MemoryRouter>
        <LiveNowPage />
      </MemoryRouter>
    </QueryClientProvider>,
  );
}

const page = (...items: object[]) => Response.json({ items, next_cursor: null });
const harbour = {
  id: "0190",
  title: "Harbour at dusk",
  username: "mira",
  status: "live",
  available_qualities: ["720p", "360p"],
};

test("each live stream is a card that leads to its page", async () => {
  show(() => page(harbour, { ...harbour, id: "0191", status: "reconnecting" }));
  const cards = await screen.findAllByTestId("live-card");
  expect(cards.map((card) => card.getAttribute("href"))).toEqual(["/live/0190", "/live/0191"]);
  expect(cards[0]?.textContent).toContain("Harbour at dusk");
  expect(cards[0]?.textContent).toContain("mira");
});

test("streams that are only set up are not shown, and nobody live says how to go live", async () => {
  show(() => page({ ...harbour, status: "active" }));
  expect((await screen.findByTestId("live-empty")).textContent).toContain("srt_url");
});

test("a failed first answer can be tried again", async () => {
  let away = true;
  show(() =>
    away
      ? Response.json({ code: "unavailable", detail: "The service is away." }, { status: 503 })
      : page(harbour),
  );
  expect((await screen.findByTestId("live-error")).textContent).toContain("The service is away.");
  away = false;
  fireEvent.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByTestId("live-card")).toBeTruthy();
});
