import { cleanup, render, screen } from "@testing-library/react";
import { createMemoryRouter } from "react-router";
import { RouterProvider } from "react-router/dom";
import { afterEach, expect, test, vi } from "vitest";
import { CrashedPage } from "../ui/shell";
import { LivePlayer } from "./live-player";

const { screenFor } = vi.hoisted(() => ({ screenFor: vi.fn() }));
vi.mock("./early-screen", () => ({ screenFor }));

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
