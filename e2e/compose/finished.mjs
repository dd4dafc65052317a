/** A broadcast that is over, by which tests see whether data was kept: its playlists and objects, byte for byte. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { parseMedia } from "../lib/playlist.mjs";
import { onLive } from "../lib/scene.mjs";

const RUNGS = ["480p", "360p"];
const SEGMENT_RUNG = RUNGS[0];

const hashOf = async (response) =>
  createHash("sha256")
    .update(Buffer.from(await response.arrayBuffer()))
    .digest("hex");

export class FinishedBroadcast {
  /**
   * @param {import("node:test").TestContext} t
   * @param {object} scene
   */
  static async make(t, scene) {
    const finished = new FinishedBroadcast();
    await onLive(t, { scene, input: "sd", rungs: RUNGS }, async (live) => {
      finished.broadcaster = live.broadcaster;
      await live.listed(3);
      // Not stopped by its owner, after which its key would be refused for a while.
      await live.publisher.leave();
      await live.ended();
      finished.last = live.newest();
    });
    finished.scene = scene;
    finished.seen = await finished.#see();
    return finished;
  }

  /** Playlists, object names, and the bytes of one segment. */
  async #see() {
    const { broadcaster, scene } = this;
    const lists = {};
    for (const rung of RUNGS) {
      lists[rung] = await broadcaster.playlist(rung);
    }
    const segment = `${SEGMENT_RUNG}/${parseMedia(lists[SEGMENT_RUNG]).segments[0].uri}`;
    return {
      lists,
      objects: await scene.stack.objects("live-segments", `${broadcaster.id}/`),
      segment: await hashOf(await broadcaster.fetch(segment)),
    };
  }

  async isAsItWas() {
    assert.deepEqual(await this.#see(), this.seen);
  }
}
