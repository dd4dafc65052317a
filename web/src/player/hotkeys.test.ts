import { afterEach, expect, test } from "vitest";
import { type HotkeyAction, hotkeyAction } from "./hotkeys";

afterEach(() => document.body.replaceChildren());

/** What a key press on the first element of `html` (the body without one) is taken for. */
function press(key: string, html = "", init: KeyboardEventInit = {}): HotkeyAction | null {
  document.body.innerHTML = html;
  const target = document.querySelector("[data-target]") ?? document.body.firstElementChild;
  let action: HotkeyAction | null = null;
  const listener = (event: KeyboardEvent) => {
    action = hotkeyAction(event);
  };
  document.addEventListener("keydown", listener);
  (target ?? document.body).dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...init }),
  );
  document.removeEventListener("keydown", listener);
  return action;
}

test("J and L jump ten seconds, arrows five", () => {
  expect(press("j")).toEqual({ kind: "seek-by", seconds: -10 });
  expect(press("L")).toEqual({ kind: "seek-by", seconds: 10 });
  expect(press("ArrowLeft")).toEqual({ kind: "seek-by", seconds: -5 });
  expect(press("ArrowRight")).toEqual({ kind: "seek-by", seconds: 5 });
});

test("Space and K play and pause", () => {
  expect(press(" ")).toEqual({ kind: "toggle-play" });
  expect(press("k")).toEqual({ kind: "toggle-play" });
});

test("keys typed into a field are text", () => {
  for (const field of [
    "<input>",
    "<textarea></textarea>",
    "<select></select>",
    "<p contenteditable='true'><b data-target>x</b></p>",
  ]) {
    for (const key of [" ", "j", "l", "ArrowLeft"]) {
      expect(press(key, field)).toBeNull();
    }
  }
});

test("Space on a button or link presses that", () => {
  expect(press(" ", "<button></button>")).toBeNull();
  expect(press(" ", "<a href='/'></a>")).toBeNull();
  expect(press("j", "<button></button>")).toEqual({ kind: "seek-by", seconds: -10 });
});

test("arrows on a slider or in a menu move those", () => {
  expect(press("ArrowLeft", "<div role='slider'></div>")).toBeNull();
  expect(press("ArrowRight", "<ul role='menu'><li data-target></li></ul>")).toBeNull();
});

test("shortcuts of the browser stay the browser's", () => {
  expect(press("l", "", { ctrlKey: true })).toBeNull();
  expect(press("f", "", { metaKey: true })).toBeNull();
  expect(press("ArrowLeft", "", { altKey: true })).toBeNull();
  expect(press("x")).toBeNull();
});
