/**
 * What encoders in the field send. Each input is pushed once, in real time, and its whole broadcast
 * is looked at when it has ended.
 */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launchBrowser, openPage } from "../lib/browser.mjs";
import {
  assertNothingMissing,
  assertRunsThrough,
  assertSameKeyframes,
  assertSameTimeline,
} from "../lib/expect.mjs";
import { INPUTS } from "../lib/media.mjs";
import { onLive, openScene } from "../lib/scene.mjs";
import { until } from "../lib/wait.mjs";

/** The last frames of a publisher that closes its socket at once may be lost on the way. */
const TAIL_S = 0.7;
/** Longest segment: the cut rule's 2.4 s and a frame. */
const LONGEST_S = 2.45;

/** Two ladders are what two cores make in real time, and what a transcoder takes on them. */
const AT_ONCE = { concurrency: 2 };

let scene;
let browser;

before(async () => {
  scene = await openScene();
  browser = await launchBrowser();
});
after(() => browser?.close());

/**
 * Pushes an input to its end, waits for ENDLIST and checks what holds for all of them. `further`
 * gets each rung's probed stretches.
 */
function input(name, rungs, further = () => {}, { stretches = 1, brokenOff, during } = {}) {
  const facts = INPUTS[name];
  return (t) =>
    onLive(t, { scene, input: name, rungs }, async (live) => {
      const { broadcaster } = live;
      assert.deepEqual((await scene.api.stream(broadcaster.id)).available_qualities, rungs);
      const master = await live.master();
      assert.deepEqual(
        master.map(({ name: rung }) => rung),
        rungs,
      );
      await during?.(live);
      await live.ended((facts.seconds + 25) * 1000);

      assertSameTimeline(live.lists());
      const probed = {};
      for (const variant of master) {
        const rung = variant.name;
        const list = live.list(rung);
        assert.equal(list.mediaSequence, 1);
        assertNothingMissing(list, { brokenOff });
        for (const { msn, duration } of list.segments) {
          assert.ok(duration <= LONGEST_S, `${rung}: number ${msn} lasts ${duration} s`);
        }
        probed[rung] = await assertRunsThrough(broadcaster, rung, list, {
          fps: facts.video?.fps,
          audio: facts.audio,
        });
        assert.equal(probed[rung].length, stretches, `${rung}: unbroken stretches`);
        assertAsAnnounced(variant, probed[rung][0]);
      }
      if (stretches === 1) {
        assertWhole(facts, probed);
      }
      further(live, probed, master);
    });
}

function assertAsAnnounced({ name, width, height, codecs }, { video, audio }) {
  if (video) {
    assert.equal(video.codec, "h264", name);
    assert.deepEqual([video.width, video.height], [width, height], `RESOLUTION of ${name}`);
    assert.match(codecs, /avc1\./, name);
  }
  assert.equal(/mp4a\./.test(codecs), audio !== null, `CODECS of ${name}: ${codecs}`);
}

function assertWhole({ seconds, video }, probed) {
  for (const [rung, stretches] of Object.entries(probed)) {
    const { pts } = stretches[0][video ? "video" : "audio"];
    const length = pts.at(-1) - pts[0];
    assert.ok(length >= seconds - TAIL_S, `${rung}: ${length.toFixed(2)} s of ${seconds} s`);
  }
}

const videoOf = (probed) =>
  Object.fromEntries(Object.entries(probed).map(([rung, [{ video }]]) => [rung, video]));

/** Distances of consecutive keyframes in seconds. */
const gops = ({ keyPts }) =>
  keyPts.slice(1).map((pts, i) => Math.round((pts - keyPts[i]) * 100) / 100);

describe("a source", AT_ONCE, () => {
  test(
    "whose sound vanishes for 20 s keeps its pictures in time, and gets silence",
    input("audio-vanishes", ["360p"], undefined, {
      // Waiting for the sound would hold every rung back for ten seconds and more.
      during: (live) =>
        until("segments come while the sound is away", 24_000, () => live.newest() >= 8),
    }),
  );

  test("without sound", input("video-only", ["360p"]));

  test(
    "without pictures has one rendition, which browsers play",
    input("audio-only", ["audio"], undefined, {
      during: async (live) => {
        const { page, player, close } = await openPage(browser, live.pageUrl);
        await player.playsOn(8_000);
        await page.getByTestId("audio-only").waitFor();
        assert.ok((await player.video()).audioBytes > 0, "there is sound");
        await close();
      },
    }),
  );

  test(
    "in portrait keeps its shape",
    input("portrait", ["720p", "480p", "360p"], (_live, _probed, master) => {
      assert.deepEqual([master[0].width, master[0].height], [540, 960]);
      for (const { name, width, height } of master.slice(1)) {
        assert.equal(width, Number.parseInt(name, 10));
        assert.ok(Math.abs(height / width - 16 / 9) < 0.02, `${width} × ${height}`);
      }
    }),
  );

  test(
    "of 480 lines is not scaled up, and is passed through",
    input("480p", ["480p", "360p"], (_live, probed, master) => {
      assert.equal(master[0].height, 480);
      assertSameKeyframes(videoOf(probed));
    }),
  );

  test(
    "of 900 lines fills the 1080p rung in its own size",
    input("900p", ["1080p", "720p", "480p", "360p"], (_live, probed, master) => {
      assert.deepEqual([master[0].width, master[0].height], [1600, 900]);
      assertSameKeyframes(videoOf(probed));
    }),
  );

  test(
    "with two B-frames has its keyframes at the same times in every rung",
    input("b-frames", ["480p", "360p"], (_live, probed) => {
      const video = videoOf(probed);
      assertSameKeyframes(video);
      assert.equal(video["480p"].bFrames, 2, "its own rung is passed through");
    }),
  );

  test(
    "with keyframes each 2.5 s is encoded, and nothing of it is lost",
    input("gop-2.5", ["480p", "360p"], (_live, probed) => {
      const video = videoOf(probed);
      assertSameKeyframes(video);
      for (const [rung, track] of Object.entries(video)) {
        assert.ok(Math.max(...gops(track)) <= 2.4, `${rung}: keyframes ${gops(track)} s apart`);
      }
    }),
  );

  test(
    "with keyframes each 0.5 s gives segments of 2 s",
    input("gop-0.5", ["480p", "360p"], (live, probed) => {
      assertSameKeyframes(videoOf(probed));
      const { segments } = live.list("480p");
      for (const { msn, duration } of segments.slice(0, -1)) {
        assert.ok(Math.abs(duration - 2) < 0.05, `number ${msn} lasts ${duration} s`);
      }
    }),
  );

  test(
    "whose keyframes move apart while it runs is encoded from there, with one discontinuity",
    input(
      "gop-changes",
      ["480p", "360p"],
      (live, probed) => {
        assert.equal(live.discontinuities("480p"), 1);
        // What the edge had shown of the number that was made again.
        const gaps = live.list("480p").segments.filter(({ gap }) => gap);
        assert.ok(gaps.reduce((sum, { duration }) => sum + duration, 0) <= 0.1, "nothing is lost");
        const length = probed["480p"].reduce(
          (sum, { video: { pts } }) => sum + pts.at(-1) - pts[0],
          0,
        );
        assert.ok(length >= 18 - 3.5, `${length.toFixed(1)} s of 18 s`);
      },
      { stretches: 2, brokenOff: true },
    ),
  );

  test(
    "in HEVC is encoded to what browsers play",
    input("hevc", ["480p", "360p"], (_live, probed) => assertSameKeyframes(videoOf(probed))),
  );
});
