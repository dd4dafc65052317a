/** What must hold for stored media, said once for all tests. */

import assert from "node:assert/strict";
import { breaksOf, lengthOf, probeSegments, stretchesOf } from "./probe.mjs";

/** Keyframe times of two rungs count as equal within a tick of the coarsest clock on the way. */
const SAME_TIME_S = 0.002;
/** EXTINF is rounded to milliseconds, and segments of encoders end on frames. */
const DURATION_SLACK_S = 0.1;
const AUDIO_STEP_S = 0.1;

/**
 * Numbers, durations, discontinuities, gaps and dates agree in all rungs.
 *
 * @param {object} lists by rung
 * @param {object} [tolerance]
 * @param {number} [tolerance.mayLack] numbers that one rung may have and another not: what is killed dies between two
 *   rungs' ends of them
 */
export function assertSameTimeline(lists, { mayLack = 0 } = {}) {
  const [first, ...others] = Object.keys(lists);
  for (const rung of others) {
    const newest = Math.min(lists[first].segments.at(-1).msn, lists[rung].segments.at(-1).msn);
    const common = (list, shown) => list.segments.filter(({ msn }) => msn <= newest).map(shown);
    const timeline = ({ msn, duration, discontinuity, date }) => ({
      msn,
      duration,
      discontinuity,
      date,
    });
    assert.deepEqual(
      common(lists[rung], timeline),
      common(lists[first], timeline),
      `${rung} agrees with ${first}`,
    );
    const gaps = (list) => common(list, ({ gap }) => gap);
    const own = gaps(lists[rung]);
    const different = gaps(lists[first]).filter((gap, index) => gap !== own[index]).length;
    assert.ok(different <= mayLack, `${rung} and ${first} differ in ${different} gaps`);
  }
}

/**
 * Numbers follow each other and nothing is a gap.
 *
 * @param {object} list
 * @param {object} [tolerance]
 * @param {boolean} [tolerance.brokenOff] the last number before a discontinuity may be one: a killed
 *   encoder had begun it in one rung and not yet in another, or parts of it were shown at the edge
 *   before all of it was made again
 */
export function assertNothingMissing(list, { brokenOff = false } = {}) {
  const isBrokenOff = (index) => brokenOff && list.segments[index + 1]?.discontinuity;
  const gaps = list.segments.filter(({ gap }, index) => gap && !isBrokenOff(index));
  assert.deepEqual(
    gaps.map(({ msn }) => msn),
    [],
    "no gaps",
  );
}

/**
 * Fetches a rung's segments and checks that each unbroken stretch runs through, in the length that
 * the playlist says. Returns the stretches as probed.
 *
 * @param {object} expected
 * @param {number} [expected.fps] none without video
 * @param {boolean} [expected.audio]
 * @param {boolean} [expected.torn] stretches but the last may lack what a killed encoder had read and
 *   not yet written: up to their last segment
 */
export async function assertRunsThrough(
  broadcaster,
  rung,
  list,
  { fps, audio = true, torn = false },
) {
  const probed = [];
  const stretches = stretchesOf(list);
  for (const { segments } of stretches) {
    const media = await probeSegments(broadcaster, rung, segments);
    const where = `${rung}, numbers ${segments[0].msn} to ${segments.at(-1).msn}`;
    const listed = segments.reduce((sum, { duration }) => sum + duration, 0);
    if (fps) {
      assert.ok(media.video, `${where} have video`);
      assert.deepEqual(breaksOf(media.video.pts, 1.6 / fps), [], `${where}: video runs through`);
      const length = lengthOf(media.video.pts);
      const isTorn = torn && segments !== stretches.at(-1).segments;
      const mayLack = isTorn ? segments.at(-1).duration : DURATION_SLACK_S;
      assert.ok(
        length <= listed + DURATION_SLACK_S && length >= listed - mayLack,
        `${where}: ${length.toFixed(3)} s of video, ${listed.toFixed(3)} s listed`,
      );
    } else {
      assert.equal(media.video, null, `${where} have no video`);
    }
    if (audio) {
      assert.ok(media.audio, `${where} have sound`);
      assert.deepEqual(breaksOf(media.audio.pts, AUDIO_STEP_S), [], `${where}: sound runs through`);
    } else {
      assert.equal(media.audio, null, `${where} have no sound`);
    }
    probed.push({ segments, ...media });
  }
  return probed;
}

/** Keyframes stand at the same times in all rungs, so that a player can switch at any segment. */
export function assertSameKeyframes(tracksByRung) {
  const [[first, reference], ...others] = Object.entries(tracksByRung);
  for (const [rung, track] of others) {
    assert.equal(track.keyPts.length, reference.keyPts.length, `keyframes of ${rung} and ${first}`);
    track.keyPts.forEach((pts, i) => {
      const apart = Math.abs(pts - reference.keyPts[i]);
      assert.ok(
        apart <= SAME_TIME_S,
        `keyframe ${i}: ${pts} in ${rung}, ${reference.keyPts[i]} in ${first}`,
      );
    });
  }
}
