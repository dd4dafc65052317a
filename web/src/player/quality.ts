/** Names of the renditions in a master playlist. */

import type { Level } from "hls.js";

export interface Quality {
  /** Index among the engine's levels. */
  index: number;
  /** The rung as the platform names it (`720p`), from the rendition's folder. */
  name: string;
}

type NamedLevel = Pick<Level, "width" | "height"> & { url: readonly string[] };

/**
 * Rungs go by what the ladder calls them, not by their exact size: a 1600 × 900 source fills the
 * `1080p` rung. Playlists from elsewhere fall back to the short side.
 */
export function qualityName(level: NamedLevel): string {
  const folder = /\/(\d{3,4}p|audio)\/[^/?]*(?:\?.*)?$/.exec(level.url[0] ?? "")?.[1];
  if (folder) {
    return folder === "audio" ? "Audio" : folder;
  }
  const shortSide = Math.min(level.width, level.height);
  return shortSide > 0 ? `${shortSide}p` : "Audio";
}

/** All renditions, highest first. */
export function qualitiesOf(levels: readonly NamedLevel[]): Quality[] {
  return levels
    .map((level, index) => ({ index, name: qualityName(level), size: level.width * level.height }))
    .sort((a, b) => b.size - a.size)
    .map(({ index, name }) => ({ index, name }));
}
