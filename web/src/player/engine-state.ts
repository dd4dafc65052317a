/** What the page shows of the player. */

import type { Phase } from "./phase";
import type { Quality } from "./quality";
import type { SourceKind } from "./source-choice";

export const AUTO = -1;

/** Past this far from the live position a viewer of the plain playlists is said to be behind. */
export const BEHIND_S = 5;

/** A new object for each change. */
export interface EngineState {
  phase: Phase;
  /** The address that plays. */
  source: SourceKind;
  qualities: readonly Quality[];
  /** The viewer's choice: a level's index or `AUTO`. */
  chosen: number;
  /** The level on screen, `null` before the first. */
  active: number | null;
  /** Seconds between the broadcaster and this screen, by PROGRAM-DATE-TIME. */
  latencyS: number | null;
  /** The viewer watches the past, by seeking or pausing. */
  behindLive: boolean;
  /** The picture is held for a moment; nothing is wrong that is worth words. */
  holding: boolean;
  /** The playlist has its ENDLIST. */
  listEnded: boolean;
  /** The browser wants a click before it plays, even without sound. */
  needsGesture: boolean;
}

const INITIAL: EngineState = {
  phase: "connecting",
  source: "plain",
  qualities: [],
  chosen: AUTO,
  active: null,
  latencyS: null,
  behindLive: false,
  holding: false,
  listEnded: false,
  needsGesture: false,
};

/** Holds the state and tells of its changes. */
export class EngineStore {
  #state = INITIAL;
  readonly #listeners = new Set<() => void>();

  get = (): EngineState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  set(change: Partial<EngineState>): void {
    const keys = Object.keys(change) as (keyof EngineState)[];
    if (keys.every((key) => Object.is(this.#state[key], change[key]))) {
      return;
    }
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) {
      listener();
    }
  }

  /** Nobody is told any more. */
  close(): void {
    this.#listeners.clear();
  }
}
