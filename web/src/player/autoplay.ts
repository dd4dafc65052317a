/**
 * Starts a media element by itself, without sound where the browser insists on that.
 *
 * Done on `canplay` rather than by Video.js on `loadstart`, whose `play()` is lost when hls.js
 * attaches just then.
 */
export class Autoplay {
  #started = false;

  /** @param onRefused the browser wants a gesture first, even without sound */
  constructor(
    private readonly video: HTMLVideoElement,
    private readonly onRefused: () => void,
  ) {
    video.addEventListener("canplay", this.#start);
    video.addEventListener("playing", this.#onPlaying);
  }

  /** Whether a picture has moved yet. */
  get started(): boolean {
    return this.#started;
  }

  dispose(): void {
    this.video.removeEventListener("canplay", this.#start);
    this.video.removeEventListener("playing", this.#onPlaying);
  }

  #start = (): void => {
    if (this.#started) {
      return;
    }
    this.video.play().catch((error: DOMException) => {
      if (error.name !== "NotAllowedError") {
        return;
      }
      if (this.video.muted) {
        this.onRefused();
      } else {
        this.video.muted = true;
        this.#start();
      }
    });
  };

  #onPlaying = (): void => {
    this.#started = true;
  };
}
