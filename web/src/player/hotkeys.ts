/** Keyboard control of the player, from anywhere on its page. */

export type HotkeyAction =
  | { kind: "toggle-play" }
  | { kind: "seek-by"; seconds: number }
  | { kind: "toggle-mute" }
  | { kind: "toggle-fullscreen" };

const ACTIONS: Record<string, HotkeyAction> = {
  " ": { kind: "toggle-play" },
  k: { kind: "toggle-play" },
  j: { kind: "seek-by", seconds: -10 },
  l: { kind: "seek-by", seconds: 10 },
  arrowleft: { kind: "seek-by", seconds: -5 },
  arrowright: { kind: "seek-by", seconds: 5 },
  m: { kind: "toggle-mute" },
  f: { kind: "toggle-fullscreen" },
};

/** Where a key is text. */
const TYPING = "input, textarea, select, [contenteditable]:not([contenteditable='false'])";
/** Where Space presses what has the focus. */
const PRESSABLE = "button, a[href], summary, [role='button'], [role^='menuitem']";
/** Where arrows move something already. */
const ARROW_DRIVEN = "[role='slider'], [role='menu'], [role^='menuitem'], [role='listbox']";

/** What a key press asks of the player, or `null` when it is meant for something else. */
export function hotkeyAction(event: KeyboardEvent): HotkeyAction | null {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) {
    return null;
  }
  const key = event.key.toLowerCase();
  const target = event.target instanceof Element ? event.target : null;
  if (target?.closest(TYPING)) {
    return null;
  }
  if (key === " " && target?.closest(PRESSABLE)) {
    return null;
  }
  if (key.startsWith("arrow") && target?.closest(ARROW_DRIVEN)) {
    return null;
  }
  return ACTIONS[key] ?? null;
}
