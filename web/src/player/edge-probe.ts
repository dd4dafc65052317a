/** Asks the low-latency edge whether it can be played, without touching what plays. */

/** An edge that needs longer than this is none to watch a live from. */
const TIMEOUT_MS = 4_000;

/**
 * Whether a low-latency master leads to a list to which parts are being added. Both are asked: an
 * edge that is reached but gets no media would be left again at once.
 */
export async function edgeAnswers(master: string, signal: AbortSignal): Promise<boolean> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const variants = await textOf(master, deadline);
    const variant = variants && firstUri(variants.text);
    if (!variant) {
      return false;
    }
    const list = await textOf(new URL(variant, variants.url).href, deadline);
    return list !== null && isFlowing(list.text);
  } catch {
    // Unreachable, too slow, or no longer wanted.
    return false;
  }
}

/** The first URI of a playlist: its first line that is neither tag, comment nor blank. */
export function firstUri(playlist: string): string | null {
  const line = playlist.split("\n").find((text) => text.trim() !== "" && !text.startsWith("#"));
  return line?.trim() ?? null;
}

/**
 * Whether the next part is announced: parts alone stay listed for some seconds after the broadcaster
 * has gone.
 */
export function isFlowing(playlist: string): boolean {
  return playlist.includes("#EXT-X-PRELOAD-HINT:") && !playlist.includes("#EXT-X-ENDLIST");
}

async function textOf(
  url: string,
  signal: AbortSignal,
): Promise<{ text: string; url: string } | null> {
  const response = await fetch(url, { signal, cache: "no-store" });
  return response.ok ? { text: await response.text(), url: response.url || url } : null;
}
