/** Marquee's own buttons in the Video.js control bar: Live, quality, latency. */

import type Player from "video.js/dist/types/player";
import { AUTO, type EngineState } from "./engine-state";
import type { HlsEngine } from "./hls-engine";
import { engineOf, videojs } from "./video-js";

/**
 * The parts of Video.js' classes that are built on here. Its generated types know neither the
 * subclasses behind `getComponent` nor the hooks that are meant to be overridden.
 */
interface ControlElement {
  el(): HTMLElement;
  show(): void;
  hide(): void;
  toggleClass(name: string, on: boolean): void;
  controlText(text: string): void;
  on(target: unknown, event: string, listener: () => void): void;
  dispose(): void;
}
interface ButtonComponent extends ControlElement {
  player_: Player;
  handleClick(): void;
}
interface MenuItemComponent extends ButtonComponent {
  selected(on: boolean): void;
}
interface MenuButtonComponent extends ControlElement {
  player_: Player;
  items: MenuItemComponent[] | undefined;
  update(): void;
  unpressButton(): void;
}
type ComponentClass<T> = new (player: Player, options?: Record<string, unknown>) => T;

const Component = videojs.getComponent("Component") as unknown as ComponentClass<ControlElement>;
const Button = videojs.getComponent("Button") as unknown as ComponentClass<ButtonComponent>;
const MenuButton = videojs.getComponent(
  "MenuButton",
) as unknown as ComponentClass<MenuButtonComponent>;
const MenuItem = videojs.getComponent("MenuItem") as unknown as ComponentClass<MenuItemComponent>;

/** Calls `render` with the engine's state, now and at each change, also of a later source. */
function followEngine(
  component: ControlElement,
  player: Player,
  render: (state: EngineState, engine: HlsEngine) => void,
): void {
  let unsubscribe: (() => void) | undefined;
  const follow = () => {
    unsubscribe?.();
    const engine = engineOf(player);
    if (engine) {
      unsubscribe = engine.subscribe(() => render(engine.getState(), engine));
      render(engine.getState(), engine);
    }
  };
  component.on(player, "loadstart", follow);
  component.on(component, "dispose", () => unsubscribe?.());
  player.ready(follow);
}

/** "Live" with its lamp: lit at the live position, a way back to it otherwise. */
class LiveButton extends Button {
  constructor(player: Player, options?: Record<string, unknown>) {
    super(player, options);
    const el = this.el();
    el.dataset.testid = "live-button";
    const label = document.createElement("span");
    label.className = "mq-live-label";
    label.textContent = "Live";
    label.setAttribute("aria-hidden", "true");
    el.append(label);
    followEngine(this, player, (state) => {
      const atLive = !state.behindLive && !state.listEnded;
      this.toggleClass("mq-at-live", atLive);
      el.dataset.atLive = String(atLive);
      this.controlText(atLive ? "You are watching live" : "Go to live");
      if (state.listEnded || state.phase === "connecting") {
        this.hide();
      } else {
        this.show();
      }
    });
  }

  buildCSSClass(): string {
    return "vjs-control vjs-button mq-live-button";
  }

  override handleClick(): void {
    engineOf(this.player_)?.seekToLive();
  }
}

/** Seconds between the broadcaster and this screen. */
class LatencyDisplay extends Component {
  constructor(player: Player, options?: Record<string, unknown>) {
    super(player, options);
    const el = this.el();
    el.className = "vjs-control mq-latency";
    el.dataset.testid = "latency";
    el.title = "Time from the broadcaster to this screen";
    el.setAttribute("role", "img");
    followEngine(this, player, ({ latencyS, source }) => {
      const text = latencyS === null ? "" : delayText(latencyS);
      el.textContent = text;
      el.dataset.seconds = latencyS === null ? "" : String(latencyS);
      el.dataset.source = source;
      el.setAttribute("aria-label", text && `Delay ${text}`);
      el.hidden = text === "";
    });
  }
}

function delayText(seconds: number): string {
  if (seconds < 60) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

class QualityItem extends MenuItem {
  readonly #level: number;

  constructor(player: Player, options: { label: string; level: number; selected: boolean }) {
    super(player, { ...options, selectable: true });
    this.#level = options.level;
    this.el().dataset.testid = `quality-${options.label.toLowerCase()}`;
  }

  get level(): number {
    return this.#level;
  }

  override handleClick(): void {
    engineOf(this.player_)?.choose(this.#level);
    const menuButton = (this as unknown as { options_: { menuButton: QualityButton } }).options_
      .menuButton;
    menuButton.unpressButton();
  }
}

/** Auto and every rung. */
class QualityButton extends MenuButton {
  #names = "";
  #label: HTMLElement | undefined;

  constructor(player: Player, options?: Record<string, unknown>) {
    super(player, options);
    this.controlText("Quality");
    this.el().dataset.testid = "quality-menu";
    const button = this.el().querySelector("button");
    if (button) {
      button.dataset.testid = "quality-button";
      this.#label = document.createElement("span");
      this.#label.className = "mq-quality-label";
      this.#label.setAttribute("aria-hidden", "true");
      button.append(this.#label);
    }
    followEngine(this, player, (state) => this.#render(state));
  }

  buildCSSClass(): string {
    return "vjs-menu-button vjs-menu-button-popup mq-quality-button";
  }

  buildWrapperCSSClass(): string {
    return "vjs-menu-button vjs-menu-button-popup vjs-control vjs-button mq-quality";
  }

  createItems(): MenuItemComponent[] {
    const engine = engineOf(this.player_);
    if (!engine) {
      return [];
    }
    const { qualities, chosen } = engine.getState();
    const choices = [{ index: AUTO, name: "Auto" }, ...qualities];
    return choices.map(
      ({ index, name }) =>
        new QualityItem(this.player_, {
          label: name,
          level: index,
          selected: index === chosen,
          menuButton: this,
        } as { label: string; level: number; selected: boolean }),
    );
  }

  #render(state: EngineState): void {
    const names = state.qualities.map(({ name }) => name).join();
    if (names !== this.#names) {
      this.#names = names;
      this.update();
    }
    for (const item of this.items ?? []) {
      if (item instanceof QualityItem) {
        item.selected(item.level === state.chosen);
      }
    }
    const active = state.qualities.find(({ index }) => index === state.active)?.name ?? "";
    if (this.#label) {
      this.#label.textContent = state.chosen === AUTO && active ? `Auto ${active}` : active;
    }
    this.el().dataset.active = active;
  }
}

const register = videojs.registerComponent as unknown as (name: string, type: unknown) => void;
register("MarqueeLiveButton", LiveButton);
register("MarqueeLatency", LatencyDisplay);
register("MarqueeQuality", QualityButton);
