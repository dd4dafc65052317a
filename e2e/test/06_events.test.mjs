/** What pages are told of a stream while it happens: server-sent events through nginx and gateway. */

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { EventFollower } from "../lib/events.mjs";
import { onLive, openScene } from "../lib/scene.mjs";

let scene;

before(async () => {
  scene = await openScene();
});

test("followers hear of a broadcast, its viewers and its end as they happen", (t) =>
  onLive(t, { scene, input: "sd", rungs: ["480p", "360p"] }, async ({ broadcaster }) => {
    const { api, id, token } = broadcaster;
    const url = `${scene.stack.baseUrl}/api/streams/${id}/events`;
    const [owner, stranger] = [await EventFollower.open(url, token), await EventFollower.open(url)];
    try {
      assert.match(stranger.headers.get("content-type"), /^text\/event-stream/);
      for (const follower of [owner, stranger]) {
        await follower.hears("status", 5_000, ({ status }) => status === "live");
        await follower.hears("viewers", 5_000, ({ viewer_count }) => viewer_count === 0);
      }
      const health = await owner.hears("health", 15_000);
      assert.ok(health.bitrate_bps > 0, JSON.stringify(health));

      // A viewer counts from the second beat.
      const beat = (body) => api.request("POST", `/api/streams/${id}/viewers`, { body });
      const { session_id } = (await beat({})).json;
      const counted = stranger.hears("viewers", 20_000, ({ viewer_count }) => viewer_count === 1);
      for (let heard = false; !heard; ) {
        await beat({ session_id });
        heard = await Promise.race([
          counted.then(() => true),
          new Promise((resolve) => setTimeout(() => resolve(false), 2_000)),
        ]);
      }

      await broadcaster.stop();
      for (const follower of [owner, stranger]) {
        await follower.hears("status", 5_000, ({ status }) => status === "active");
      }
      assert.equal(stranger.newest("health"), undefined, "health is for the owner");
    } finally {
      owner.close();
      stranger.close();
    }
  }));
