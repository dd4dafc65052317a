import assert from "node:assert/strict";
import { test } from "node:test";
import { faultsOf, PlaylistHistory, parseMaster, parseMedia } from "../lib/playlist.mjs";

const media = (head, ...segments) =>
  ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:2", ...head, ...segments.flat(), ""].join(
    "\n",
  );
const segment = (uri, ...tags) => [...tags, "#EXTINF:2.000,", uri];

test("a media playlist's numbers, names and discontinuity numbers are read", () => {
  const list = parseMedia(
    media(
      ["#EXT-X-MEDIA-SEQUENCE:7", "#EXT-X-DISCONTINUITY-SEQUENCE:3"],
      segment("a.ts", "#EXT-X-PROGRAM-DATE-TIME:2026-11-21T12:00:00.500Z"),
      segment("b.ts", "#EXT-X-GAP"),
      segment("c.ts", "#EXT-X-DISCONTINUITY"),
      ["#EXT-X-ENDLIST"],
    ),
  );
  assert.deepEqual(
    list.segments.map(({ msn, uri, cc, gap, discontinuity }) => [msn, uri, cc, gap, discontinuity]),
    [
      [7, "a.ts", 3, false, false],
      [8, "b.ts", 3, true, false],
      [9, "c.ts", 4, false, true],
    ],
  );
  assert.equal(list.segments[0].date, Date.parse("2026-11-21T12:00:00.500Z"));
  assert.equal(list.ended, true);
});

test("a master playlist's variants are read, commas in quotes too", () => {
  const [variant] = parseMaster(
    '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS="avc1.42c01f,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=25.000\n360p/playlist.m3u8\n',
  );
  assert.equal(variant.codecs, "avc1.42c01f,mp4a.40.2");
  assert.deepEqual([variant.name, variant.width, variant.height], ["360p", 640, 360]);
});

test("what is no playlist is refused", () => {
  assert.throws(() => parseMedia("<html>"), /not a playlist/);
  assert.throws(() => parseMedia("#EXTM3U\n#EXT-X-TARGETDURATION:2\na.ts\n"), /without EXTINF/);
  assert.throws(() => parseMedia("#EXTM3U\n#EXTINF:2,\na.ts\n"), /TARGETDURATION/);
});

test("a segment longer than the target, an absolute and a repeated name are faults", () => {
  const list = parseMedia(
    media([], ["#EXTINF:2.600,", "a.ts"], segment("/live/b.ts"), segment("a.ts")),
  );
  assert.equal(faultsOf(list).length, 3);
  assert.deepEqual(faultsOf(parseMedia(media([], ["#EXTINF:2.499,", "a.ts"]))), []);
});

function historyOf(...versions) {
  const history = new PlaylistHistory();
  for (const version of versions) {
    history.see(version);
  }
  return history;
}

test("a sliding window with discontinuities is in order", () => {
  const history = historyOf(
    media(["#EXT-X-MEDIA-SEQUENCE:1"], segment("1.ts"), segment("2.ts", "#EXT-X-DISCONTINUITY")),
    media(["#EXT-X-MEDIA-SEQUENCE:2"], segment("2.ts", "#EXT-X-DISCONTINUITY"), segment("3.ts")),
    media(
      ["#EXT-X-MEDIA-SEQUENCE:3", "#EXT-X-DISCONTINUITY-SEQUENCE:1"],
      segment("3.ts"),
      segment("4.ts"),
    ),
  );
  assert.deepEqual(history.faults, []);
  assert.equal(history.versions, 3);
});

test("a number that changes its name is a fault", () => {
  const { faults } = historyOf(
    media(["#EXT-X-MEDIA-SEQUENCE:1"], segment("1.ts"), segment("2.ts")),
    media(["#EXT-X-MEDIA-SEQUENCE:1"], segment("1.ts"), segment("2b.ts")),
  );
  assert.match(faults.join(), /number 2 was 2.ts and became 2b.ts/);
});

test("a number that changes its discontinuity number is a fault", () => {
  const { faults } = historyOf(
    media(["#EXT-X-MEDIA-SEQUENCE:1"], segment("1.ts", "#EXT-X-DISCONTINUITY"), segment("2.ts")),
    media(["#EXT-X-MEDIA-SEQUENCE:2"], segment("2.ts")),
  );
  assert.match(faults.join(), /number 2 had discontinuity 1 and then 0/);
});

test("going back, and taking ENDLIST back, are faults", () => {
  const long = media(["#EXT-X-MEDIA-SEQUENCE:5"], segment("5.ts"), segment("6.ts"), [
    "#EXT-X-ENDLIST",
  ]);
  const short = media(["#EXT-X-MEDIA-SEQUENCE:4"], segment("4.ts"));
  assert.equal(historyOf(long, short).faults.length, 3);
});
