/** When the controls may come: their code must not hold up the picture. */

/** Without a picture they come after this: they, too, tell that something is being done. */
const PATIENCE_MS = 1_500;

/** Fulfilled by the first picture of `video`, or when it takes too long; in vain once `signal` aborts. */
export function firstPicture(video: HTMLVideoElement, signal: AbortSignal): Promise<void> {
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      video.removeEventListener("playing", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, PATIENCE_MS);
    video.addEventListener("playing", done);
    signal.addEventListener("abort", done);
  });
}
