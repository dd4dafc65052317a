/** The picture of a stream: its thumbnail, or a tile of its own where there is none. */

import { useState } from "react";
import { type PublicStream, titleOf } from "../api/public-stream";
import { hueOf } from "./hue";

export function StreamArt({ stream, initial = true }: { stream: PublicStream; initial?: boolean }) {
  const [broken, setBroken] = useState<string | null>(null);
  const src = stream.thumbnail_url;
  if (src && src !== broken) {
    return (
      <img
        src={src}
        alt=""
        loading="lazy"
        decoding="async"
        className="size-full object-cover"
        onError={() => setBroken(src)}
      />
    );
  }
  const hue = hueOf(stream.id);
  return (
    <div
      aria-hidden="true"
      className="flex size-full items-center justify-center"
      style={{
        background: `radial-gradient(120% 140% at 15% 0%, oklch(0.5 0.14 ${hue}) 0%, oklch(0.31 0.1 ${hue - 22}) 46%, oklch(0.18 0.05 ${hue - 40}) 100%)`,
      }}
    >
      {initial && (
        <span className="font-wide text-6xl font-black text-white/20">
          {titleOf(stream).charAt(0).toUpperCase()}
        </span>
      )}
    </div>
  );
}
