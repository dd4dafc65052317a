/** One live broadcast of a test: a user of its own, a publisher, and a watch on its playlists. */

import assert from "node:assert/strict";
import { Api } from "./api.mjs";
import { openPage, screenshot } from "./browser.mjs";
import { prepared } from "./media.mjs";
import { PlaylistWatch, parseMaster } from "./playlist.mjs";
import { Publisher } from "./publisher.mjs";
import { Stack } from "./stack.mjs";
import { sleep, until } from "./wait.mjs";

/** From the first byte to a playable master there are two or three seconds; machines are busy. */
const GO_LIVE_MS = 20_000;

export async function openScene() {
  const stack = await Stack.open();
  return { stack, api: new Api(stack) };
}

/**
 * Goes live, runs `body`, and leaves nothing behind.
 *
 * @param {import("node:test").TestContext} t
 * @param {object} setting
 * @param {{stack: Stack, api: Api}} setting.scene
 * @param {string} setting.input name in `INPUTS`
 * @param {string[]} setting.rungs what the ladder must offer, highest first
 * @param {string} [setting.title]
 * @param {string} [setting.on] the transcoder to publish to
 * @param {object} [setting.first] options of the first publisher
 * @param {(live: Live) => Promise<void>} body
 */
export async function onLive(
  t,
  { scene, input, rungs, title, on = "transcoder", first = {} },
  body,
) {
  const broadcaster = await scene.api.broadcaster("e2e", title);
  const live = new Live(scene, broadcaster, await prepared(input), rungs);
  try {
    await live.publish(on, first);
    await live.begun();
    await body(live);
    assert.deepEqual(live.watch.faults(), [], "every version of every playlist was in order");
  } catch (error) {
    live.describe().forEach((line) => t.diagnostic(line));
    throw error;
  } finally {
    await live.close();
  }
}

/**
 * The same with a viewer in a real browser who never touches the page: `body` gets
 * `{live, page, player}` once pictures move.
 */
export function onWatchedLive(t, setting, browser, body) {
  return onLive(t, setting, async (live) => {
    const viewer = await openPage(browser, live.pageUrl);
    try {
      await viewer.player.playsOn();
      await body({ live, ...viewer });
    } catch (error) {
      const name = t.name.replaceAll(/\W+/g, "-").slice(0, 60);
      t.diagnostic(`screenshot: ${await screenshot(viewer.page, name)}`);
      t.diagnostic(await viewer.player.describe());
      viewer.lists.forEach((line) => t.diagnostic(line));
      viewer.log.forEach((line) => t.diagnostic(line));
      throw error;
    } finally {
      await viewer.close();
    }
  });
}

/** A running broadcast, as tests see it. */
export class Live {
  #publishers = [];

  constructor(scene, broadcaster, file, rungs) {
    Object.assign(this, { ...scene, broadcaster, file, rungs });
    this.watch = new PlaylistWatch(rungs, broadcaster.playlist);
  }

  get pageUrl() {
    return `${this.stack.baseUrl}/live/${this.broadcaster.id}`;
  }

  /** The publisher that was started last. */
  get publisher() {
    return this.#publishers.at(-1);
  }

  /**
   * Connects a publisher with this stream's key. A transcoder at capacity frees a slot a moment
   * after a broadcast's last playlist is written, so one that is refused at once tries again.
   */
  async publish(on = "transcoder", { by = "srt", ...options } = {}) {
    const server =
      by === "rtmp" ? { rtmpUrl: this.stack.rtmpUrlOf(on) } : { srtUrl: this.stack.srtUrlOf(on) };
    for (let attempt = 0; ; attempt += 1) {
      const publisher = new Publisher({
        ...server,
        key: this.broadcaster.key,
        file: this.file,
        ...options,
      });
      this.#publishers.push(publisher);
      await Promise.race([publisher.exited, sleep(1_500)]);
      if (publisher.running || attempt === 3) {
        assert.ok(publisher.running, `the publisher is taken: ${publisher.log()}`);
        return publisher;
      }
    }
  }

  /** Waits until the broadcast can be watched. */
  async begun() {
    await until("a master playlist", GO_LIVE_MS, () => this.broadcaster.playlist());
    await this.broadcaster.becomes("live", GO_LIVE_MS);
    await this.listed(1);
  }

  async master() {
    return parseMaster(await this.broadcaster.playlist());
  }

  /** The newest version of a rung's playlist; the lowest rung's if none is named. */
  list(rung = this.rungs.at(-1)) {
    return this.watch.latest(rung);
  }

  /** The newest number listed in a rung, 0 before the first. */
  newest(rung) {
    return this.list(rung)?.segments.at(-1)?.msn ?? 0;
  }

  /** Waits until all rungs list that number. */
  listed(msn, withinMs = 20_000) {
    return until(`number ${msn} is listed in ${this.rungs.join(", ")}`, withinMs, () =>
      this.rungs.every((rung) => this.newest(rung) >= msn),
    );
  }

  /** Waits for that many more segments than there are now. */
  goesOn(more = 2, withinMs = 20_000) {
    return this.listed(Math.max(...this.rungs.map((rung) => this.newest(rung))) + more, withinMs);
  }

  /** Waits until all rungs have their ENDLIST. */
  ended(withinMs = 30_000) {
    return until(`ENDLIST in ${this.rungs.join(", ")}`, withinMs, () =>
      this.rungs.every((rung) => this.list(rung)?.ended),
    );
  }

  /** How many DISCONTINUITY tags a rung lists. */
  discontinuities(rung) {
    return this.list(rung).segments.filter(({ discontinuity }) => discontinuity).length;
  }

  /** The broadcast in the names of a list's segments: one, if it is the same broadcast. */
  broadcasts(rung) {
    return new Set(this.list(rung).segments.map(({ uri }) => uri.split("-")[0]));
  }

  /** Every rung's newest list, by rung. */
  lists() {
    return Object.fromEntries(this.rungs.map((rung) => [rung, this.list(rung)]));
  }

  /** What a failed test's reader wants to know. */
  describe() {
    const lines = this.rungs.map((rung) => {
      const list = this.list(rung);
      return `${rung}: ${
        list
          ? `${list.ended ? "ended, " : ""}${list.segments
              .map(({ msn, duration, discontinuity, gap }) =>
                [`${msn}:${duration}`, discontinuity && "d", gap && "g"].filter(Boolean).join(""),
              )
              .join(" ")}`
          : "never seen"
      }`;
    });
    for (const [index, publisher] of this.#publishers.entries()) {
      const state = publisher.running ? "runs" : JSON.stringify(publisher.ended);
      lines.push(`publisher ${index + 1} ${state}: ${publisher.log().slice(-600)}`);
    }
    return [`stream ${this.broadcaster.id}`, ...lines];
  }

  async close() {
    await Promise.all(this.#publishers.map((publisher) => publisher.vanish()));
    await this.watch.stop();
    // The outage under test may still be on when a test has failed.
    await this.broadcaster.stop().catch(() => {});
  }
}
