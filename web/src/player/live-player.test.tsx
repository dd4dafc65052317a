import { act, cleanup, render, screen } from "@testing-library/react";
import { createMemoryRouter } from "react-router";
import { RouterProvider } from "react-router/dom";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CrashedPage } from "../ui/shell";
import { LivePlayer } from "./live-player";

const { screenFor } = vi.hoisted(() => ({ screenFor: vi.fn() }));
vi.mock("./early-screen", () => ({ screenFor }));
vi.mock("./add-controls", () => ({ addControls: () => ({ dispose: vi.fn(), poster: vi.fn() }) }));

afterEach(cleanup);

const open = () =>
  render(
    <RouterProvider
      router={createMemoryRouter([
        {
          path: "/",
          element: <LivePlayer src="/live-streams/0190/master.m3u8" title="Harbour" />,
          errorElement: <CrashedPage />,
        },
      ])}
    />,
  );

test("a page whose code that plays does not come says that it broke", async () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  screenFor.mockRejectedValue(new TypeError("Failed to fetch dynamically imported module"));
  open();
  expect(await screen.findByTestId("crashed")).toBeTruthy();
});

test("a screen that comes after its page has gone is closed", async () => {
  let come = (_: unknown) => {};
  const close = vi.fn();
  screenFor.mockReturnValue(new Promise((resolve) => (come = resolve)));
  const page = open();
  page.unmount();
  come({ close });
  await vi.waitFor(() => expect(close).toHaveBeenCalled());
});

describe("whether it is being watched", () => {
  let video: HTMLVideoElement;
  let told: boolean[];
  const set = (state: Partial<HTMLVideoElement>, event: string) => {
    for (const [name, value] of Object.entries(state)) {
      Object.defineProperty(video, name, { value, configurable: true });
    }
    act(() => void video.dispatchEvent(new Event(event)));
  };
  const show = async () => {
    screenFor.mockResolvedValue({ box: document.createElement("div"), video, close: vi.fn() });
    const onWatching = (watches: boolean) => told.push(watches);
    const page = render(<LivePlayer src="/master.m3u8" title="Harbour" onWatching={onWatching} />);
    await vi.waitFor(() =>
      expect(page.container.querySelector(".mq-player-host > div")).toBeTruthy(),
    );
    return page;
  };
  const PLAYING = { paused: false, readyState: HTMLMediaElement.HAVE_FUTURE_DATA };

  beforeEach(() => {
    video = document.createElement("video");
    told = [];
  });

  test("is told from the first picture on, except while it is paused", async () => {
    const page = await show();
    expect(told).toEqual([]);
    set(PLAYING, "playing");
    expect(told).toEqual([true]);
    set({ paused: true }, "pause");
    expect(told).toEqual([true, false]);
    set({ paused: false }, "playing");
    page.unmount();
    expect(told).toEqual([true, false, true, false]);
  });

  test("is told of a picture that was there before the page", async () => {
    Object.defineProperties(video, {
      paused: { value: false },
      readyState: { value: HTMLMediaElement.HAVE_FUTURE_DATA },
    });
    await show();
    await vi.waitFor(() => expect(told).toEqual([true]));
  });

  test("does not change with a picture that stands for want of media, and ends with the media", async () => {
    await show();
    set(PLAYING, "playing");
    set({ readyState: HTMLMediaElement.HAVE_CURRENT_DATA }, "waiting");
    expect(told).toEqual([true]);
    set({ ended: true }, "ended");
    expect(told).toEqual([true, false]);
  });
});
