/** Publishers that leave, come back and replace each other, while somebody watches. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launchBrowser } from "../lib/browser.mjs";
import { assertNothingMissing, assertRunsThrough, assertSameTimeline } from "../lib/expect.mjs";
import { parseMedia } from "../lib/playlist.mjs";
import { onWatchedLive, openScene } from "../lib/scene.mjs";
import { sleep, until } from "../lib/wait.mjs";

const RUNGS = ["480p", "360p"];

let scene;
let browser;

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
});
after(() => browser?.close());

const watched = (t, body) => onWatchedLive(t, { scene, input: "sd", rungs: RUNGS }, browser, body);

test("a broadcaster who comes back within the grace goes on with the same broadcast", (t) =>
  watched(t, async ({ live, player }) => {
    const { broadcaster } = live;
    const [broadcast] = live.broadcasts();
    let time = await player.time();
    await player.watchSources();

    await t.test("after leaving properly", async () => {
      await live.publisher.leave();
      await broadcaster.becomes("reconnecting", 4_000);
      // Within the grace, and past what viewers of the edge have ahead.
      await sleep(2_500);
      await live.publish();
      await broadcaster.becomes("live");
      await live.goesOn(3);
      time = await player.wentOnSince(time);
      assert.equal(live.discontinuities(), 1);
    });

    await t.test("after vanishing without a word", async () => {
      await live.publisher.vanish();
      await sleep(2_000);
      await live.publish("transcoder", { fromS: 60 });
      await live.goesOn(3);
      time = await player.wentOnSince(time);
      assert.equal(live.discontinuities(), 2);
    });

    await t.test("and a second publisher with the key takes over from the first", async () => {
      const first = live.publisher;
      assert.ok(first.running);
      await live.publish("transcoder", { fromS: 120 });
      await until("the first is disconnected", 5_000, () => !first.running);
      await live.goesOn(3);
      assert.ok(live.publisher.running, "the second stays");
      time = await player.wentOnSince(time);
      assert.equal(live.discontinuities(), 3);
    });

    assert.deepEqual(await player.sources(), ["low-latency"], "nobody was taken off the edge");
    assert.deepEqual([...live.broadcasts()], [broadcast]);
    assertSameTimeline(live.lists());
    for (const rung of RUNGS) {
      const list = live.list(rung);
      assertNothingMissing(list);
      const stretches = await assertRunsThrough(broadcaster, rung, list, { fps: 25 });
      assert.equal(stretches.length, 4);
    }
  }));

test("a broadcaster who stays away longer begins anew, and viewers see it without a reload", (t) =>
  watched(t, async ({ live, page, player }) => {
    const { broadcaster } = live;
    await live.publisher.leave();
    await live.ended(20_000);
    const last = live.newest();
    const [before] = live.broadcasts();
    assert.equal(await broadcaster.status(), "active");
    await page.getByTestId("ended").waitFor({ timeout: 20_000 });
    // Another broadcast has another playlist: taking ENDLIST back is right between the two.
    await live.watch.stop();

    await live.publish();
    await broadcaster.becomes("live");
    const list = await until("a playlist of the next broadcast", 10_000, async () => {
      const now = parseMedia(await broadcaster.playlist("360p"));
      return now.segments.length > 0 && !now.ended ? now : null;
    });
    assert.ok(list.mediaSequence > last, `numbers go on from ${last}: ${list.mediaSequence}`);
    for (const { uri } of list.segments) {
      assert.notEqual(uri.split("-")[0], before, "only its own segments are listed");
    }
    await page.getByTestId("ended").waitFor({ state: "detached", timeout: 20_000 });
    await player.playsOn();
    assert.ok(await player.neverReloaded());
  }));
