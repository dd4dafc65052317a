/** A stream's server-sent events, through nginx and the gateway, as a page follows them. */

import { until } from "./wait.mjs";

export class EventFollower {
  #abort = new AbortController();
  #failure;
  /** Everything that was told, in order: `{event, data}`. */
  told = [];

  /**
   * @param {string} url
   * @param {string} [token] the owner's, who is told more
   */
  static async open(url, token) {
    const follower = new EventFollower();
    const response = await fetch(url, {
      headers: { accept: "text/event-stream", ...(token && { authorization: `Bearer ${token}` }) },
      signal: follower.#abort.signal,
    });
    if (!response.ok) {
      throw new Error(`events: ${response.status} ${await response.text()}`);
    }
    follower.headers = response.headers;
    follower.#read(response.body).catch((error) => {
      follower.#failure = error;
    });
    return follower;
  }

  async #read(body) {
    let rest = "";
    for await (const text of body.pipeThrough(new TextDecoderStream())) {
      const messages = (rest + text).split("\n\n");
      rest = messages.pop();
      for (const message of messages) {
        const field = (name) => new RegExp(`^${name}: ?(.*)$`, "m").exec(message)?.[1];
        if (field("event")) {
          this.told.push({ event: field("event"), data: JSON.parse(field("data")) });
        }
      }
    }
  }

  /** The newest message of a kind. */
  newest(event) {
    return this.told.findLast((message) => message.event === event)?.data;
  }

  /** Waits until the newest message of a kind is as `matches` wants it. */
  async hears(event, withinMs, matches = () => true) {
    return until(`an event ${event}`, withinMs, () => {
      if (this.#failure) {
        throw this.#failure;
      }
      const newest = this.newest(event);
      return newest && matches(newest) && newest;
    });
  }

  close() {
    this.#abort.abort();
  }
}
