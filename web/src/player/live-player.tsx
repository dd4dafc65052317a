/**
 * The player. The rest of the page knows this component only: what plays (Video.js with hls.js) is
 * this folder's business and can be replaced here.
 */

import "video.js/dist/video-js.css";
import "./player.css";
import "./controls";

import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import type Player from "video.js/dist/types/player";
import type { EngineState } from "./engine-state";
import { BEHIND_S, type EngineOptions, HlsEngine } from "./hls-engine";
import { type HotkeyAction, hotkeyAction } from "./hotkeys";
import { PlayerOverlay } from "./player-overlay";
import { engineOf, HLS_TYPE, videojs } from "./video-js";

export interface LivePlayerProps {
  /** Master playlist. */
  src: string;
  /** The low-latency edge's, which plays while it answers. */
  lowLatencySrc?: string | null | undefined;
  /** Named to assistive technology. */
  title: string;
  poster?: string | undefined;
  /** Seconds a broadcaster has to come back; lost streams are retried 30 s longer. */
  graceS?: number;
  /** The broadcast has no video. */
  audioOnly?: boolean;
  /** Told once, when the broadcast is over and was watched to its end. */
  onEnded?: () => void;
}

const RETRY_BEYOND_GRACE_S = 30;

export function LivePlayer({
  src,
  lowLatencySrc = null,
  title,
  poster,
  graceS = 30,
  audioOnly = false,
  onEnded,
}: LivePlayerProps) {
  const host = useRef<HTMLDivElement>(null);
  const [player, setPlayer] = useState<Player | null>(null);
  const [engine, setEngine] = useState<HlsEngine | null>(null);

  // Read once when a player is made; what becomes of it later is told to the engine.
  const latestLowLatencySrc = useRef(lowLatencySrc);
  latestLowLatencySrc.current = lowLatencySrc;

  useEffect(() => {
    const created = createPlayer(host.current, src, {
      retryWindowMs: (graceS + RETRY_BEYOND_GRACE_S) * 1_000,
      lowLatencyUrl: latestLowLatencySrc.current,
    });
    setPlayer(created);
    created.ready(() => setEngine(engineOf(created)));
    return () => {
      setEngine(null);
      setPlayer(null);
      created.dispose();
    };
  }, [src, graceS]);

  useEffect(() => {
    engine?.offerLowLatency(lowLatencySrc);
  }, [engine, lowLatencySrc]);

  useEffect(() => {
    player?.poster(poster ?? "");
  }, [player, poster]);

  useHotkeys(player, engine);
  const state = useEngineState(engine);
  const muted = useAutoplayMuted(player);

  const phase = state?.phase ?? "connecting";
  useEffect(() => {
    if (phase === "ended") {
      onEnded?.();
    }
  }, [phase, onEnded]);

  return (
    <section
      className="mq-player"
      aria-label={`Player: ${title}`}
      data-testid="player"
      data-phase={phase}
      data-source={state?.source}
      data-holding={state?.holding ?? false}
      data-needs-gesture={state?.needsGesture ?? false}
      data-chosen={chosenName(state)}
    >
      <div ref={host} className="mq-player-host" />
      <PlayerOverlay
        phase={phase}
        audioOnly={audioOnly}
        muted={muted && phase === "playing"}
        onUnmute={() => {
          player?.muted(false);
          player?.volume(player.volume() || 1);
        }}
        onRetry={() => engine?.retry()}
      />
    </section>
  );
}

function createPlayer(host: HTMLElement | null, src: string, engine: EngineOptions): Player {
  // Video.js removes its element when it is disposed of, so React must not own that element.
  const element = document.createElement("video-js");
  host?.append(element);
  return videojs(element, {
    fill: true,
    controls: true,
    autoplay: HlsEngine.isSupported() ? false : "any",
    playsinline: true,
    preload: "auto",
    liveui: true,
    // A short live has its seek bar too; within the tolerance the bar shows its right end.
    liveTracker: { trackingThreshold: 4, liveTolerance: BEHIND_S },
    inactivityTimeout: 2_500,
    html5: { engine },
    children: [
      "mediaLoader",
      "posterImage",
      "loadingSpinner",
      "bigPlayButton",
      "liveTracker",
      "controlBar",
    ],
    controlBar: {
      children: [
        "progressControl",
        "playToggle",
        "volumePanel",
        "MarqueeLiveButton",
        "MarqueeLatency",
        "customControlSpacer",
        "MarqueeQuality",
        "pictureInPictureToggle",
        "fullscreenToggle",
      ],
      volumePanel: { inline: true },
    },
    sources: [{ src, type: HLS_TYPE }],
  });
}

function chosenName(state: EngineState | null): string {
  return state?.qualities.find(({ index }) => index === state.chosen)?.name ?? "auto";
}

function useEngineState(engine: HlsEngine | null): EngineState | null {
  return useSyncExternalStore(engine?.subscribe ?? subscribeToNothing, () =>
    engine ? engine.getState() : null,
  );
}

function subscribeToNothing(): () => void {
  return () => undefined;
}

/** Whether the browser let the player start only without sound. */
function useAutoplayMuted(player: Player | null): boolean {
  const [muted, setMuted] = useState(false);
  useEffect(() => {
    if (!player) {
      return;
    }
    const read = () => setMuted(player.muted() === true);
    player.on(["volumechange", "playing"], read);
    return () => {
      if (!player.isDisposed()) {
        player.off(["volumechange", "playing"], read);
      }
    };
  }, [player]);
  return muted;
}

function useHotkeys(player: Player | null, engine: HlsEngine | null): void {
  useEffect(() => {
    if (!player) {
      return;
    }
    const onKeyDown = (event: KeyboardEvent) => {
      const action = hotkeyAction(event);
      if (action) {
        event.preventDefault();
        perform(action, player, engine);
      }
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [player, engine]);
}

function perform(action: HotkeyAction, player: Player, engine: HlsEngine | null): void {
  player.userActive(true);
  switch (action.kind) {
    case "toggle-play":
      if (player.paused()) {
        player.play()?.catch(() => undefined);
      } else {
        player.pause();
      }
      break;
    case "seek-by":
      engine?.seekBy(action.seconds);
      break;
    case "toggle-mute":
      player.muted(!player.muted());
      break;
    case "toggle-fullscreen":
      if (player.isFullscreen()) {
        player.exitFullscreen();
      } else {
        player.requestFullscreen();
      }
      break;
  }
}
