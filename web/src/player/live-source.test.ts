import { afterEach, describe, expect, test, vi } from "vitest";
import { edgeAnswers, firstUri, isFlowing } from "./edge-probe";
import { type ListEnd, ListVitals } from "./list-vitals";
import { LiveFollowing } from "./live-following";
import { positionOf } from "./program-date";
import { PLAIN_REFILL, RefillHold } from "./refill-hold";
import { SourceChoice } from "./source-choice";

const MIDDLE = 0.5;

describe("the choice of a source", () => {
  const onEdge = (now = 0) => {
    const choice = new SourceChoice();
    choice.takeEdge(now);
    return choice;
  };

  test("without an edge the plain playlists play, and nobody is asked", () => {
    const choice = new SourceChoice();
    expect(choice.current).toBe("plain");
    expect(choice.isDue(1e9, true)).toBe(false);
  });

  test("an edge that fails is left at once and asked again 15 s later", () => {
    const choice = onEdge();
    choice.fallBack(60_000, MIDDLE);
    expect(choice.current).toBe("plain");
    expect(choice.isDue(74_999, true)).toBe(false);
    expect(choice.isDue(75_000, true)).toBe(true);
    choice.takeEdge(75_000);
    expect(choice.current).toBe("low-latency");
    expect(choice.isDue(1e9, true)).toBe(false);
  });

  test("jitter spreads its viewers by a quarter either way", () => {
    const [early, late] = [onEdge(), onEdge()];
    early.fallBack(60_000, 0);
    late.fallBack(60_000, 1);
    expect(early.isDue(60_000 + 11_250, true)).toBe(true);
    expect(late.isDue(60_000 + 18_749, true)).toBe(false);
    expect(late.isDue(60_000 + 18_750, true)).toBe(true);
  });

  test("it is asked every 15 s for as long as it does not answer", () => {
    const choice = onEdge();
    choice.fallBack(60_000, MIDDLE);
    for (let at = 75_000; at < 600_000; at += 15_000) {
      expect(choice.isDue(at - 1, true)).toBe(false);
      expect(choice.isDue(at, true)).toBe(true);
      choice.askLater(at, MIDDLE);
    }
  });

  test("one that keeps failing right after it came back is asked more and more rarely", () => {
    const choice = onEdge();
    let at = 1_000;
    const waits = [1, 2, 3, 4, 5, 6].map(() => {
      choice.fallBack(at, MIDDLE);
      const began = at;
      while (!choice.isDue(at, true)) {
        at += 500;
      }
      choice.takeEdge(at);
      at += 1_000;
      return (at - 1_000 - began) / 1_000;
    });
    expect(waits).toEqual([15, 30, 60, 120, 120, 120]);
    choice.fallBack(at + 60_000, MIDDLE);
    expect(choice.isDue(at + 75_000, true)).toBe(true);
  });

  test("while nothing has played yet it is asked sooner", () => {
    const choice = onEdge();
    choice.fallBack(500, MIDDLE);
    expect(choice.isDue(4_499, false)).toBe(false);
    expect(choice.isDue(4_500, false)).toBe(true);
  });

  test("the Live button has it asked at once", () => {
    const choice = onEdge();
    choice.fallBack(60_000, MIDDLE);
    choice.askSoon(61_000);
    expect(choice.isDue(61_000, true)).toBe(true);
  });

  test("an edge that the stream gets later is asked, one it loses is not", () => {
    const choice = new SourceChoice();
    choice.offerEdge(1_000);
    expect(choice.isDue(1_000, true)).toBe(true);
    choice.withdrawEdge();
    expect(choice.isDue(1e9, true)).toBe(false);
    choice.askSoon(2_000);
    expect(choice.isDue(1e9, true)).toBe(false);
  });
});

describe("following the live", () => {
  test("a step back is a choice of the past, and the right end of the bar one of the live", () => {
    const following = new LiveFollowing();
    following.moved(100, 90, 100.4);
    expect(following.follows).toBe(false);
    following.moved(91, 95, 101);
    expect(following.follows).toBe(false);
    following.moved(95, 101.5, 102);
    expect(following.follows).toBe(true);
  });

  test("steps of the engine over holes are no choice", () => {
    const following = new LiveFollowing();
    following.moved(100, 103, 140);
    following.moved(103, 102.9, 140);
    expect(following.follows).toBe(true);
  });

  test("a long pause is a choice of the past, a short one is caught up", () => {
    const following = new LiveFollowing();
    following.resumed(3);
    expect(following.follows).toBe(true);
    following.resumed(30);
    expect(following.follows).toBe(false);
    following.goLive();
    expect(following.follows).toBe(true);
  });
});

describe("the vitals of a list", () => {
  const list = (change: Partial<ListEnd> = {}): ListEnd => ({
    live: true,
    targetduration: 2,
    endSN: 10,
    lastPartSn: 11,
    lastPartIndex: 3,
    ...change,
  });

  /** Looks ten times a second, as the engine does; true if the edge was ever given up. */
  const looks = (
    vitals: ListVitals,
    [from, to]: [number, number],
    { aheadS = 0, follows = true, lists = () => null as ListEnd | null | undefined } = {},
  ) => {
    let isGone = false;
    for (let at = from; at <= to; at += 100) {
      const listed = lists();
      if (listed) {
        vitals.listed(at, listed);
      }
      vitals.buffered(at, aheadS);
      isGone ||= vitals.edgeIsGone(at, follows);
    }
    return isGone;
  };

  test("an edge that answers nothing new is stale, and it is not gone", () => {
    const vitals = new ListVitals(0);
    expect(looks(vitals, [0, 20_000], { lists: () => list() })).toBe(false);
    expect(vitals.isStale(20_000, "low-latency")).toBe(true);
  });

  test("an edge that says nothing is gone", () => {
    const vitals = new ListVitals(0);
    vitals.listed(0, list());
    expect(looks(vitals, [0, 8_000], { aheadS: 1 })).toBe(false);
    expect(vitals.edgeIsGone(8_001, true)).toBe(true);
  });

  const growing = (from: number) => {
    let lastPartIndex = from;
    return () => {
      lastPartIndex += 1;
      return list({ lastPartIndex });
    };
  };

  test("an edge whose lists go on and whose media does not come is gone", () => {
    const vitals = new ListVitals(0);
    const lists = growing(0);
    expect(looks(vitals, [0, 4_000], { lists })).toBe(false);
    expect(looks(vitals, [4_100, 4_200], { lists })).toBe(true);
  });

  test("who watches the past waits for storage, by whichever list", () => {
    const vitals = new ListVitals(0);
    expect(looks(vitals, [0, 30_000], { lists: growing(0), follows: false })).toBe(false);
  });

  for (const awayS of [4, 10, 30]) {
    test(`a broadcaster back after ${awayS} s has not made the edge useless`, () => {
      const vitals = new ListVitals(0);
      const back = awayS * 1_000;
      looks(vitals, [0, 600], { aheadS: 0.6, lists: growing(0) });
      expect(looks(vitals, [700, back - 100], { lists: () => list({ lastPartIndex: 7 }) })).toBe(
        false,
      );
      // The list comes first, its part takes a while.
      vitals.listed(back + 10, list({ lastPartIndex: 8 }));
      expect(looks(vitals, [back + 60, back + 4_000], { lists: growing(8) })).toBe(false);
      // … but not for ever.
      expect(looks(vitals, [back + 4_060, back + 4_300], { lists: growing(60) })).toBe(true);
    });
  }

  test("who wakes from sleep hears the edge before judging it", () => {
    const vitals = new ListVitals(0);
    looks(vitals, [0, 1_000], { aheadS: 0.5, lists: growing(0) });
    const woken = 3_600_000;
    expect(looks(vitals, [woken, woken + 3_000])).toBe(false);
    expect(vitals.isStale(woken + 2_900, "low-latency")).toBe(false);
    expect(looks(vitals, [woken + 3_100, woken + 8_200])).toBe(true);
  });

  test("a part more is news, a plain list is given three target durations", () => {
    const vitals = new ListVitals(0);
    vitals.listed(0, list());
    vitals.listed(3_500, list({ lastPartIndex: 4 }));
    expect(vitals.isStale(6_000, "low-latency")).toBe(false);
    expect(vitals.isStale(9_400, "plain")).toBe(false);
    expect(vitals.isStale(9_600, "plain")).toBe(true);
  });

  test("an ended list is not stale, and says nothing more without being gone", () => {
    const vitals = new ListVitals(0);
    vitals.listed(0, list({ live: false }));
    expect(vitals.isStale(1e9, "plain")).toBe(false);
    expect(looks(vitals, [0, 60_000], { aheadS: 2 })).toBe(false);
  });

  test("an edge whose broadcast is over and whose rest does not come is gone", () => {
    const vitals = new ListVitals(0);
    looks(vitals, [0, 600], { aheadS: 0.6, lists: growing(0) });
    looks(vitals, [700, 12_000], { lists: () => list({ lastPartIndex: 7 }) });
    // The time in which nothing was listed is no fault of the edge's.
    vitals.listed(12_010, list({ live: false, lastPartIndex: 8 }));
    expect(looks(vitals, [12_100, 16_000], { aheadS: 0.3 })).toBe(false);
    expect(looks(vitals, [16_100, 16_200], { aheadS: 0.3 })).toBe(true);
  });
});

describe("the same moment in another list", () => {
  const list = {
    fragments: [
      { start: 40, programDateTime: 1_000_000 },
      { start: 42, programDateTime: 1_002_000 },
      // After an interruption of ten seconds.
      { start: 44, programDateTime: 1_014_000 },
    ],
    fragmentStart: 40,
    edge: 46,
  };

  test("is counted from the last date before it", () => {
    expect(positionOf(1_001_500, list)).toBe(41.5);
    expect(positionOf(1_014_700, list)).toBeCloseTo(44.7);
  });

  test("is inside the list", () => {
    expect(positionOf(1, list)).toBe(40);
    expect(positionOf(2_000_000, list)).toBeCloseTo(45.9);
  });

  test("is not known without dates", () => {
    const fragments = [{ start: 40, programDateTime: null }];
    expect(positionOf(1_000_000, { ...list, fragments })).toBe(null);
  });
});

describe("the hold after trouble", () => {
  test("lasts until there is enough", () => {
    const hold = new RefillHold();
    hold.begin(0, PLAIN_REFILL);
    expect(hold.release(3_000, 2, false)).toBe(false);
    expect(hold.holds).toBe(true);
    expect(hold.release(5_000, 3, false)).toBe(true);
    expect(hold.holds).toBe(false);
  });

  test("waits for the first media without end, and for more only for a while", () => {
    const hold = new RefillHold();
    hold.begin(0, PLAIN_REFILL);
    expect(hold.release(60_000, 0, false)).toBe(false);
    expect(hold.heldMs(60_000)).toBe(60_000);
    expect(hold.release(61_000, 1, false)).toBe(false);
    expect(hold.release(67_001, 1, false)).toBe(true);
  });

  test("ends with the broadcast", () => {
    const hold = new RefillHold();
    hold.begin(0, PLAIN_REFILL);
    expect(hold.release(100, 0, true)).toBe(true);
    expect(hold.release(200, 9, true)).toBe(false);
  });
});

describe("the question to the edge", () => {
  const MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n720p/playlist.m3u8\n";
  const INTERRUPTED = '#EXTM3U\n#EXT-X-PART:DURATION=0.2,URI="a.ts"\n';
  const RUNNING = `${INTERRUPTED}#EXT-X-PRELOAD-HINT:TYPE=PART,URI="b.ts"\n`;

  const served = (files: Record<string, string>) =>
    vi.stubGlobal("fetch", async (url: string) => {
      const body = files[url];
      return new Response(body ?? null, { status: body === undefined ? 404 : 200 });
    });
  const ask = () => edgeAnswers("http://h/stream/x/master.m3u8", new AbortController().signal);

  afterEach(() => vi.unstubAllGlobals());

  test("finds an edge that runs", async () => {
    served({
      "http://h/stream/x/master.m3u8": MASTER,
      "http://h/stream/x/720p/playlist.m3u8": RUNNING,
    });
    expect(await ask()).toBe(true);
  });

  test("does not believe a master alone", async () => {
    served({ "http://h/stream/x/master.m3u8": MASTER });
    expect(await ask()).toBe(false);
  });

  test("is answered by no while the broadcaster is away, though parts are still listed", async () => {
    served({
      "http://h/stream/x/master.m3u8": MASTER,
      "http://h/stream/x/720p/playlist.m3u8": INTERRUPTED,
    });
    expect(await ask()).toBe(false);
  });

  test("is answered by no for whatever fails", async () => {
    served({});
    expect(await ask()).toBe(false);
    vi.stubGlobal("fetch", async () => {
      throw new TypeError("Failed to fetch");
    });
    expect(await ask()).toBe(false);
  });

  test("reads playlists with any line ends", () => {
    expect(firstUri("#EXTM3U\r\n\r\na/b.m3u8\r\n")).toBe("a/b.m3u8");
    expect(firstUri("#EXTM3U\n")).toBe(null);
    expect(isFlowing(`${RUNNING}#EXT-X-ENDLIST\n`)).toBe(false);
  });
});
