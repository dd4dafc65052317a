/** Publishers by RTMP: what they send is the same broadcast as by SRT, and either may follow the other. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { launchBrowser } from "../lib/browser.mjs";
import { assertNothingMissing, assertRunsThrough, assertSameTimeline } from "../lib/expect.mjs";
import { prepared } from "../lib/media.mjs";
import { Publisher } from "../lib/publisher.mjs";
import { onLive, onWatchedLive, openScene } from "../lib/scene.mjs";
import { sleep, until } from "../lib/wait.mjs";

const RUNGS = ["480p", "360p"];
const RTMP = { by: "rtmp" };

let scene;
let browser;

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
});
after(() => browser?.close());

const setting = (first = RTMP) => ({ scene, input: "sd", rungs: RUNGS, first });
const watched = (t, first, body) => onWatchedLive(t, setting(first), browser, body);

test("a broadcast by RTMP plays in every rung and has a thumbnail", (t) =>
  watched(t, RTMP, async ({ live, player }) => {
    const { broadcaster } = live;
    assert.deepEqual(await player.qualities(), ["Auto", ...RUNGS]);
    await player.choose("360p");
    await player.showsLines(360);
    await live.listed(4);
    assertSameTimeline(live.lists());
    for (const rung of RUNGS) {
      const list = live.list(rung);
      assertNothingMissing(list);
      const stretches = await assertRunsThrough(broadcaster, rung, list, { fps: 25 });
      assert.equal(stretches.length, 1);
    }
    await t.test("which is a JPEG that caches keep for seconds only", async () => {
      const url = `${broadcaster.hlsBase}/thumbnail.jpg`;
      const response = await until("a thumbnail", 20_000, async () => {
        const answer = await fetch(url);
        return answer.ok ? answer : null;
      });
      assert.equal(response.headers.get("content-type"), "image/jpeg");
      const [, age] = /max-age=(\d+)/.exec(response.headers.get("cache-control") ?? "") ?? [];
      assert.ok(Number(age) <= 10, `kept for ${age} s`);
      const bytes = Buffer.from(await response.arrayBuffer());
      assert.deepEqual([...bytes.subarray(0, 2)], [0xff, 0xd8], "it begins as a JPEG");
      assert.deepEqual([...bytes.subarray(-2)], [0xff, 0xd9], "and ends as one");
    });
  }));

test("one broadcast goes on from RTMP to SRT and back", (t) =>
  watched(t, RTMP, async ({ live, player }) => {
    const { broadcaster } = live;
    const [broadcast] = live.broadcasts();
    let time = await player.time();

    await t.test("when the publisher leaves by RTMP and returns by SRT", async () => {
      await live.publisher.leave();
      await broadcaster.becomes("reconnecting", 4_000);
      await live.publish();
      await broadcaster.becomes("live");
      await live.goesOn(3);
      time = await player.wentOnSince(time);
      assert.equal(live.discontinuities(), 1);
    });

    await t.test("when it vanishes by SRT and returns by RTMP", async () => {
      await live.publisher.vanish();
      await sleep(1_500);
      await live.publish("transcoder", { ...RTMP, fromS: 60 });
      await live.goesOn(3);
      time = await player.wentOnSince(time);
      assert.equal(live.discontinuities(), 2);
    });

    await t.test("when one by SRT takes over from one by RTMP", async () => {
      const first = live.publisher;
      await live.publish("transcoder", { fromS: 120 });
      await until("the first is disconnected", 5_000, () => !first.running);
      await live.goesOn(3);
      assert.ok(live.publisher.running, "the second stays");
      time = await player.wentOnSince(time);
      assert.equal(live.discontinuities(), 3);
    });

    await t.test("when one by RTMP takes over from one by SRT", async () => {
      const first = live.publisher;
      await live.publish("transcoder", { ...RTMP, fromS: 20 });
      await until("the first is disconnected", 5_000, () => !first.running);
      await live.goesOn(3);
      assert.ok(live.publisher.running, "the second stays");
      time = await player.wentOnSince(time);
      assert.equal(live.discontinuities(), 4);
    });

    assert.deepEqual([...live.broadcasts()], [broadcast]);
    assertSameTimeline(live.lists());
    for (const rung of RUNGS) {
      const list = live.list(rung);
      assertNothingMissing(list);
      const stretches = await assertRunsThrough(broadcaster, rung, list, { fps: 25 });
      assert.equal(stretches.length, 5);
    }
  }));

describe("a publisher by RTMP is disconnected within a second", { concurrency: false }, () => {
  const goneWithin = async (live, act) => {
    const { publisher, broadcaster } = live;
    const { token } = broadcaster;
    const began = Date.now();
    const answer = await act(token);
    assert.ok(answer.status < 300, answer.text);
    await until("the publisher is gone", 3_000, () => !publisher.running);
    const took = Date.now() - began;
    // The second, and what it takes this process to notice.
    assert.ok(took < 1_500, `${took} ms`);
    await live.ended(10_000);
  };

  test("when its key is rotated", (t) =>
    onLive(t, setting(), (live) =>
      goneWithin(live, (token) =>
        scene.api.request("POST", `/api/streams/${live.broadcaster.id}/rotate-key`, { token }),
      ),
    ));

  test("when its stream is deleted", (t) =>
    onLive(t, setting(), (live) =>
      goneWithin(live, (token) =>
        scene.api.request("DELETE", `/api/streams/${live.broadcaster.id}`, { token }),
      ),
    ));
});

test("strangers at the port are sent away, and nobody on the air notices", (t) =>
  onLive(t, setting(), async (live) => {
    const { hostname, port } = new URL(
      scene.stack.rtmpUrlOf("transcoder").replace(/^rtmp:/, "http:"),
    );
    const handshake = Buffer.concat([Buffer.from([3]), Buffer.alloc(2 * 1536)]);
    // A message of 16 MB, a chunk size of 1, a request of the web, silence.
    const sayings = [
      Buffer.concat([handshake, Buffer.from("03000000ffffff0900000000", "hex")]),
      Buffer.concat([handshake, Buffer.from("02000000000004010000000000000001", "hex")]),
      Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
      Buffer.alloc(0),
    ];
    const strangers = Array.from({ length: 60 }, (_, i) => {
      const socket = connect(Number(port), hostname);
      // A reset is one way to be sent away.
      socket.on("error", () => {});
      socket.resume();
      socket.write(sayings[i % sayings.length]);
      return socket;
    });
    const gone = (which) =>
      strangers.every(({ closed }, i) => closed || !which(sayings[i % sayings.length]));
    // Each is sent away for what it says, and a second later if it does not hang up itself.
    await until("who speaks is gone", 2_500, () => gone(({ length }) => length > 0));
    // The silent ones have three seconds.
    await until("all strangers are gone", 6_000, () => gone(() => true));
    await live.goesOn(3);
    await live.goesOn(1);
    assert.ok(live.publisher.running);
    for (const rung of RUNGS) {
      const list = live.list(rung);
      assertNothingMissing(list);
      await assertRunsThrough(live.broadcaster, rung, list, { fps: 25 });
    }
  }));

test("a key that opens nothing is refused, asked about once, and found in no log", async () => {
  const key = randomBytes(32).toString("base64url");
  const checks = () => scene.stack.metric("transcoder", "transcoder_key_checks_total");
  const before = await checks();
  for (let i = 0; i < 3; i += 1) {
    const publisher = new Publisher({
      rtmpUrl: scene.stack.rtmpUrlOf("transcoder"),
      key,
      file: await prepared("480p"),
    });
    await until("the publisher is refused", 8_000, () => !publisher.running);
    assert.notEqual(publisher.ended.code, 0);
    assert.match(publisher.log(), /stream key is not valid/, "and is told why");
  }
  assert.equal((await checks()) - before, 1, "the stream service was asked once");
  for (const [file, text] of await scene.stack.logs()) {
    assert.ok(!text.includes(key), file);
  }
});
