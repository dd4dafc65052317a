/**
 * The player. The rest of the page knows this component only: what plays (Video.js with hls.js) is
 * this folder's business and can be replaced here.
 */

import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import type Player from "video.js/dist/types/player";
import { screenFor } from "./early-screen";
import type { EngineState } from "./engine-state";
import { firstPicture } from "./first-picture";
import type { HlsEngine } from "./hls-engine";
import { type HotkeyAction, hotkeyAction } from "./hotkeys";
import { PlayerOverlay } from "./player-overlay";
import type { Screen, Source } from "./screen";

export interface LivePlayerProps {
  /** Master playlist. */
  src: string;
  /** The low-latency edge's, which plays while it answers. */
  lowLatencySrc?: string | null | undefined;
  /** Named to assistive technology. */
  title: string;
  poster?: string | undefined;
  /** The broadcast has no video. */
  audioOnly?: boolean;
  /** Told whether it is being watched: from the first picture to the last, not while it is paused or lost. */
  onWatching?: (watches: boolean) => void;
  /** Told once, when the broadcast is over and was watched to its end. */
  onEnded?: () => void;
}

export function LivePlayer({
  src,
  lowLatencySrc = null,
  title,
  poster,
  audioOnly = false,
  onWatching,
  onEnded,
}: LivePlayerProps) {
  const host = useRef<HTMLDivElement>(null);
  const [screen, setScreen] = useState<Screen | null>(null);
  const [player, setPlayer] = useState<Player | null>(null);
  const [failure, setFailure] = useState<unknown>(null);
  const engine = screen?.engine ?? null;

  // Read once when a screen is opened; what becomes of it later is told to the engine.
  const latestLowLatencySrc = useRef(lowLatencySrc);
  latestLowLatencySrc.current = lowLatencySrc;

  useEffect(() => {
    const shown = new AbortController();
    showScreen({
      source: { src, lowLatencySrc: latestLowLatencySrc.current },
      host: host.current,
      shown: shown.signal,
      onScreen: setScreen,
      onControls: setPlayer,
    }).catch(setFailure);
    return () => {
      shown.abort();
      setScreen(null);
      setPlayer(null);
    };
  }, [src]);

  useEffect(() => {
    engine?.offerLowLatency(lowLatencySrc);
  }, [engine, lowLatencySrc]);

  useEffect(() => {
    player?.poster(poster ?? "");
  }, [player, poster]);

  useHotkeys(player, engine);
  const state = useEngineState(engine);
  const muted = useMuted(screen?.video ?? null);
  const plays = usePlays(screen?.video ?? null);

  const phase = state?.phase ?? "connecting";
  useEffect(() => {
    if (phase === "ended") {
      onEnded?.();
    }
  }, [phase, onEnded]);

  const watches = plays && phase !== "lost";
  useEffect(() => {
    if (watches) {
      onWatching?.(true);
      return () => onWatching?.(false);
    }
  }, [watches, onWatching]);

  if (failure !== null) {
    // The code that plays could not be had: the page says so.
    throw failure;
  }
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
        onUnmute={() => screen && unmute(screen.video)}
        onRetry={() => engine?.retry()}
      />
    </section>
  );
}

interface Showing {
  source: Source;
  host: HTMLElement | null;
  /** Aborted when the screen is to go. */
  shown: AbortSignal;
  onScreen: (screen: Screen) => void;
  onControls: (player: Player) => void;
}

/** First the picture, then, once they cannot hold it up, the controls. */
async function showScreen({ source, host, shown, onScreen, onControls }: Showing): Promise<void> {
  const screen = await screenFor(source);
  if (shown.aborted) {
    screen.close();
    return;
  }
  shown.addEventListener("abort", screen.close);
  host?.append(screen.box);
  onScreen(screen);
  if (screen.engine) {
    await firstPicture(screen.video, shown);
  }
  const code = await import("./add-controls").catch(() => null);
  if (shown.aborted) {
    return;
  }
  if (!code) {
    giveOwnControls(screen);
    return;
  }
  const player = code.addControls(screen);
  shown.addEventListener("abort", () => player.dispose());
  onControls(player);
}

/** The browser's own controls, where ours could not be loaded. */
function giveOwnControls({ video, engine, source }: Screen): void {
  video.controls = true;
  if (!engine) {
    video.src = source.src;
  }
}

function unmute(video: HTMLVideoElement): void {
  video.muted = false;
  video.volume ||= 1;
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

/** Whether the browser let the picture start only without sound. */
function useMuted(video: HTMLVideoElement | null): boolean {
  const [muted, setMuted] = useState(false);
  useEffect(() => {
    if (!video) {
      return;
    }
    const read = () => setMuted(video.muted);
    read();
    video.addEventListener("volumechange", read);
    return () => video.removeEventListener("volumechange", read);
  }, [video]);
  return muted;
}

const PLAY_EVENTS = ["playing", "pause", "ended", "emptied"] as const;

/** Whether the picture moves, or would if more of it came. */
function usePlays(video: HTMLVideoElement | null): boolean {
  const [plays, setPlays] = useState(false);
  useEffect(() => {
    if (!video) {
      return;
    }
    const read = () => setPlays(isPlaying(video));
    read();
    for (const name of PLAY_EVENTS) {
      video.addEventListener(name, read);
    }
    return () => {
      setPlays(false);
      for (const name of PLAY_EVENTS) {
        video.removeEventListener(name, read);
      }
    };
  }, [video]);
  return plays;
}

function isPlaying({ paused, ended, readyState }: HTMLVideoElement): boolean {
  return !paused && !ended && readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
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
