/** Video.js' controls around a screen. Most of the player's code is behind this module. */

import "video.js/dist/video-js.css";
import "./controls.css";
import "./controls";

import type Player from "video.js/dist/types/player";
import { BEHIND_S } from "./engine-state";
import type { Screen } from "./screen";
import { hlsSource, tellOfThePast, videojs } from "./video-js";

export function addControls({ box, video, engine, source }: Screen): Player {
  // Its styles go by this class, which Video.js does not give a box that it has not made.
  box.classList.add("video-js");
  const player = videojs(video, {
    fill: true,
    controls: true,
    autoplay: engine ? false : "any",
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
    sources: [hlsSource(source.src)],
  });
  player.ready(() => engine && tellOfThePast(player));
  return player;
}
