/** Keeps the last picture in view while the media element is emptied for another source. */

/** Covers `video` with what it shows now, until it shows something again or `remove` is called. */
export class StillPicture {
  #canvas: HTMLCanvasElement | null = null;

  constructor(private readonly video: HTMLVideoElement) {}

  keep(): void {
    const { videoWidth: width, videoHeight: height, readyState } = this.video;
    if (this.#canvas || width === 0 || readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
      return;
    }
    const canvas = document.createElement("canvas");
    canvas.className = "mq-still";
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d")?.drawImage(this.video, 0, 0);
    this.video.after(canvas);
    this.#canvas = canvas;
    this.video.addEventListener("loadeddata", this.remove, { once: true });
  }

  remove = (): void => {
    this.#canvas?.remove();
    this.#canvas = null;
    this.video.removeEventListener("loadeddata", this.remove);
  };
}
