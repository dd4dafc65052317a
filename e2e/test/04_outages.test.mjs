/** Servers and services that stop, die, freeze and come back during a broadcast. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { launchBrowser } from "../lib/browser.mjs";
import { assertNothingMissing, assertRunsThrough, assertSameTimeline } from "../lib/expect.mjs";
import { onWatchedLive, openScene } from "../lib/scene.mjs";
import { sleep, until } from "../lib/wait.mjs";

const RUNGS = ["480p", "360p"];
const FPS = 25;

let scene;
let browser;
/** Name of the second transcoder, once there is one. */
let second;
/** Looked up while it runs. */
let objectStore;

before(async () => {
  scene = await openScene();
  objectStore = scene.stack.objectStore;
  second = Object.keys(scene.stack.facts.services).find((name) => /^transcoder-\d/.test(name));
  browser = await launchBrowser();
});
after(() => browser?.close());

/** A failed test leaves its outage behind: the next one begins with everything up. */
afterEach(async () => {
  const { stack } = await openScene();
  for (const name of [objectStore, "postgres", "stream", "transcoder", second].filter(Boolean)) {
    if (await stack.runs(name)) {
      await stack.resume(name);
    } else {
      await stack.start(name);
    }
  }
  await stack.ready("stream");
  await stack.ready("transcoder");
  scene = await openScene();
});

/** A broadcast that somebody watches: whatever falls, the same page must play in the end. */
const onAir = (t, body, { endsInBody = false } = {}) =>
  onWatchedLive(t, { scene, input: "sd", rungs: RUNGS }, browser, async (watched) => {
    const joined = await watched.player.time();
    await body(watched);
    if (!endsInBody) {
      await watched.player.wentOnSince(joined, 30_000);
    }
  });

/** Every rung, from the first number to the newest: nothing missing, nothing out of step. */
async function assertIntact(live, { stretches, torn = false, gaps = false, killed = false }) {
  assertSameTimeline(live.lists(), { mayLack: killed || torn ? 1 : 0 });
  for (const rung of RUNGS) {
    const list = live.list(rung);
    if (!gaps) {
      assertNothingMissing(list, { brokenOff: torn });
    }
    const probed = await assertRunsThrough(live.broadcaster, rung, list, { fps: FPS, torn });
    assert.equal(probed.length, stretches, `${rung}: unbroken stretches`);
  }
}

test("the object store is away for 15 s: nothing is missing afterwards", (t) =>
  onAir(t, async ({ live }) => {
    await scene.stack.stop(objectStore);
    await sleep(15_000);
    await scene.stack.start(objectStore);
    const expected = live.newest() + Math.floor(15 / 2) + 1;
    await live.listed(expected, 30_000);
    await assertIntact(live, { stretches: 1 });
    assert.ok(live.publisher.running, "the publisher noticed nothing");
  }));

test("the stream service and its database are away for 20 s: the live goes on", (t) =>
  onAir(t, async ({ live }) => {
    await scene.stack.stop("stream");
    await scene.stack.stop("postgres");
    const before = live.newest();
    await sleep(20_000);
    const during = live.newest();
    await scene.stack.start("postgres");
    await scene.stack.start("stream");
    assert.ok(during - before >= 8, `${during - before} segments in 20 s`);
    await live.goesOn(4);
    assert.equal(await live.broadcaster.status(), "live");
    await assertIntact(live, { stretches: 1 });
  }));

test("ffmpeg is killed: it is started again within the grace, with one discontinuity", (t) =>
  onAir(t, async ({ live }) => {
    const [pid, ...others] = await scene.stack.childrenOf("transcoder", "ffmpeg");
    assert.ok(pid && others.length === 0, "one ladder runs");
    await scene.stack.killChild("transcoder", pid);
    await until("DISCONTINUITY", 10_000, () => live.discontinuities() === 1);
    await live.goesOn(3);
    await assertIntact(live, { stretches: 2, torn: true });
    assert.equal(live.broadcasts().size, 1);
    assert.ok(live.publisher.running, "the publisher noticed nothing");
  }));

test("the transcoder is told to end: viewers keep a whole playlist, publishers come back", (t) =>
  onAir(t, async ({ live }) => {
    const before = live.newest();
    await scene.stack.stop("transcoder");
    await until("the publisher is disconnected", 8_000, () => !live.publisher.running);
    assert.ok(!live.list().ended, "no ENDLIST");
    assert.ok(live.newest() >= before, "what was received is stored");
    await scene.stack.start("transcoder");
    await live.publish();
    await live.goesOn(3);
    assert.equal(live.broadcasts().size, 1, "the same broadcast");
    assert.equal(live.discontinuities(), 1);
    // Numbers that may have been announced and were never stored are gaps now.
    await assertIntact(live, { stretches: 2, gaps: true });
  }));

test("the transcoder is killed: the publisher goes on at a second one, on the same playlist", (t) =>
  onAir(t, async ({ live }) => {
    second ??= await scene.stack.add("transcoder");
    await scene.stack.ready(second);
    const before = live.list().segments;
    await scene.stack.kill("transcoder");
    await live.publisher.vanish();
    await live.publish(second);
    await live.goesOn(3);
    await live.broadcaster.becomes("live");
    assert.equal(live.broadcasts().size, 1, "the same broadcast");
    assert.equal(live.discontinuities(), 1);
    assert.deepEqual(
      live
        .list()
        .segments.slice(0, before.length)
        .map(({ msn, uri }) => [msn, uri]),
      before.map(({ msn, uri }) => [msn, uri]),
      "what was listed stays listed",
    );
    await assertIntact(live, { stretches: 2, gaps: true, killed: true });
  }));

test("a takeover waits for storage that hangs: it hears that the broadcast is stopped", (t) =>
  onAir(
    t,
    async ({ live }) => {
      second ??= await scene.stack.add("transcoder");
      await scene.stack.ready(second);
      const last = live.newest();
      await scene.stack.kill("transcoder");
      await live.publisher.vanish();
      await scene.stack.pause(objectStore);
      const logged = (await scene.stack.logOf(second)).length;
      await live.publish(second);
      await until("the source is known, and the output is being opened", 10_000, async () => {
        const log = (await scene.stack.logOf(second)).slice(logged);
        return log.includes(live.broadcaster.id) && log.includes("described the source");
      });
      await live.broadcaster.stop();
      await until("the publisher is disconnected", 3_000, () => !live.publisher.running);
      await scene.stack.resume(objectStore);
      await live.ended(40_000);
      assert.ok(live.newest() >= last, "nothing is taken away");
    },
    { endsInBody: true },
  ));

test("a transcoder freezes for 15 s while its publisher moves: it rewinds nothing", (t) =>
  onAir(t, async ({ live }) => {
    second ??= await scene.stack.add("transcoder");
    await scene.stack.ready(second);
    await scene.stack.pause("transcoder");
    // What is still sent to the frozen one is its backlog when it wakes.
    await sleep(2_500);
    await live.publisher.vanish();
    await live.publish(second);
    await live.goesOn(2);
    await sleep(7_000);
    const moved = live.newest();
    await scene.stack.resume("transcoder");
    // It has a backlog to send, and 8 s in which it might believe that it still may.
    await live.goesOn(5);
    assert.ok(live.newest() > moved);
    assert.equal(live.broadcasts().size, 1);
    assert.equal(live.discontinuities(), 1);
    await assertIntact(live, { stretches: 2, gaps: true });
    assert.ok(live.publisher.running, "the publisher stays where it moved");
  }));

test("the only transcoder is killed: the playlist gets its end when one is back", (t) =>
  onAir(
    t,
    async ({ live, page }) => {
      if (second) {
        await scene.stack.stop(second);
      }
      await scene.stack.kill("transcoder");
      await live.publisher.vanish();
      await live.broadcaster.becomes("active", 40_000);
      assert.ok(!live.list().ended, "nobody is there to write it");
      const last = live.newest();
      await scene.stack.start("transcoder");
      await live.ended(40_000);
      assert.ok(live.newest() >= last, "and nothing is taken away");
      await assertIntact(live, { stretches: 1 });
      await page.getByTestId("ended").waitFor({ timeout: 20_000 });
    },
    { endsInBody: true },
  ));
