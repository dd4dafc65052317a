import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

type Listener = (event: string, data: unknown) => void;

/** What the engine has of hls.js: the browser's media sources are not in a unit test. */
class FakeHls {
  static readonly made: FakeHls[] = [];
  static readonly Events = {
    MEDIA_ATTACHING: "attaching",
    MANIFEST_PARSED: "manifest",
    LEVEL_SWITCHED: "switched",
    LEVEL_LOADED: "loaded",
    LEVEL_UPDATED: "updated",
    BUFFER_APPENDED: "appended",
    FRAG_BUFFERED: "buffered",
    ERROR: "error",
  };
  static readonly ErrorTypes = { MEDIA_ERROR: "mediaError", NETWORK_ERROR: "networkError" };
  static isSupported = () => true;

  readonly levels = [];
  readonly playingDate = null;
  readonly liveSyncPosition = null;
  url = "";
  loadLevel = -1;
  loads = true;
  #listeners: { event: string; listener: Listener; once: boolean }[] = [];

  constructor() {
    FakeHls.made.push(this);
  }

  get autoLevelEnabled() {
    return this.loadLevel === -1;
  }

  on(event: string, listener: Listener) {
    this.#listeners.push({ event, listener, once: false });
  }

  once(event: string, listener: Listener) {
    this.#listeners.push({ event, listener, once: true });
  }

  tell(event: keyof typeof FakeHls.Events, data: unknown = {}) {
    const name = FakeHls.Events[event];
    const told = this.#listeners.filter((it) => it.event === name);
    this.#listeners = this.#listeners.filter((it) => it.event !== name || !it.once);
    for (const { listener } of told) {
      listener(name, data);
    }
  }

  loadSource(url: string) {
    this.url = url;
  }

  stopLoad() {
    this.loads = false;
  }

  media: FakeVideo | null = null;

  /** As browsers do it: an element that is given another source, or none, is paused. */
  attachMedia(media: FakeVideo) {
    this.media = media;
    media.paused = true;
    media.error = null;
    this.tell("MEDIA_ATTACHING");
  }

  detachMedia() {
    if (this.media) {
      this.media.paused = true;
      this.media.error = null;
      this.media = null;
    }
  }

  recoverMediaError() {
    const { media } = this;
    this.detachMedia();
    if (media) {
      this.attachMedia(media);
    }
  }

  startLoad() {}
  destroy() {
    this.detachMedia();
    this.loads = false;
  }
}

vi.mock("hls.js/light", () => ({ default: FakeHls }));
const { HlsEngine } = await import("./hls-engine");

class FakeVideo extends EventTarget {
  paused = false;
  ended = false;
  seeking = false;
  muted = true;
  readyState = 0;
  videoWidth = 0;
  bufferedFrom = 0;
  playbackRate = 1;
  currentTime = 0;
  bufferedTo = 1;
  buffered = { length: 1, start: () => this.bufferedFrom, end: () => this.bufferedTo };
  error: { code: number; MEDIA_ERR_DECODE: number } | null = null;
  play = () => {
    this.paused = false;
    return Promise.resolve();
  };
}

const PLAIN = "http://h/live-streams/x/master.m3u8";
const EDGE = "http://h/stream/x/master.m3u8";
const WINDOW_MS = 60_000;
const FLOWING =
  '#EXTM3U\n#EXT-X-PART:DURATION=0.2,URI="a.ts"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI="b.ts"\n';

describe("a broadcast", () => {
  let engine: InstanceType<typeof HlsEngine>;
  let video: FakeVideo;
  /** What the edge answers to the question whether it runs. */
  let edge: string;

  const hls = () => {
    const newest = FakeHls.made.at(-1);
    if (!newest) {
      throw new Error("the engine makes one at once");
    }
    return newest;
  };
  const details = (lastPartIndex: number, live = true) => ({
    level: 1,
    details: { live, targetduration: 2, endSN: 4, lastPartSn: 5, lastPartIndex, edge: 9 },
  });
  /** Lists, all the same, come as long as they are loaded. */
  const stalls = async (ms: number) => {
    for (let waited = 0; waited < ms; waited += 2_000) {
      if (hls().loads) {
        hls().tell("LEVEL_LOADED", details(3));
      }
      await vi.advanceTimersByTimeAsync(2_000);
    }
  };

  /** The machine: time passes, and no timer fires. */
  const sleeps = (ms: number) => {
    const clock = performance.now.bind(performance);
    vi.spyOn(performance, "now").mockImplementation(() => clock() + ms);
  };

  beforeEach(() => {
    FakeHls.made.length = 0;
    vi.useFakeTimers();
    edge = "";
    vi.stubGlobal("fetch", async (url: string) => {
      const body = url === EDGE ? "#EXTM3U\n360p/playlist.m3u8\n" : edge;
      return new Response(body);
    });
    video = new FakeVideo();
    engine = new HlsEngine(video as unknown as HTMLVideoElement, PLAIN, {
      retryWindowMs: WINDOW_MS,
      lowLatencyUrl: EDGE,
    });
    hls().tell("LEVEL_LOADED", details(3));
    video.dispatchEvent(new Event("canplay"));
    video.dispatchEvent(new Event("playing"));
    video.currentTime = video.bufferedTo;
  });

  afterEach(() => {
    engine.dispose();
    vi.restoreAllMocks();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  test("that stalls for longer than is waited for is lost, and stays so while the edge has nothing", async () => {
    await stalls(WINDOW_MS);
    expect(engine.getState().phase).toBe("reconnecting");
    await stalls(6_000);
    expect(engine.getState().phase).toBe("lost");
    // A segment that was on its way.
    hls().tell("FRAG_BUFFERED");
    await stalls(300_000);
    expect(engine.getState()).toMatchObject({ phase: "lost", source: "low-latency" });
    expect(FakeHls.made).toHaveLength(1);
  });

  test("that is lost comes back when the edge has media again", async () => {
    await stalls(WINDOW_MS + 6_000);
    expect(engine.getState().phase).toBe("lost");
    edge = FLOWING;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(FakeHls.made).toHaveLength(2);
    expect(hls()).toMatchObject({ url: EDGE, loads: true });
    expect(engine.getState()).toMatchObject({ phase: "reconnecting", source: "low-latency" });
  });

  test("that stalls is waited for as long again by who slept meanwhile", async () => {
    await stalls(6_000);
    expect(engine.getState().phase).toBe("reconnecting");
    sleeps(600_000);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(engine.getState().phase).toBe("reconnecting");
    await stalls(WINDOW_MS - 6_000);
    expect(engine.getState().phase).toBe("reconnecting");
    await stalls(6_000);
    expect(engine.getState().phase).toBe("lost");
  });

  test("that is lost is tried again when the viewer asks for it", async () => {
    await stalls(WINDOW_MS + 6_000);
    engine.retry();
    expect(engine.getState().phase).toBe("reconnecting");
    edge = FLOWING;
    await vi.advanceTimersByTimeAsync(20_000);
    hls().tell("LEVEL_LOADED", details(4));
    hls().tell("FRAG_BUFFERED");
    video.bufferedTo += 3;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(engine.getState().phase).toBe("playing");
    // No question to the edge was left over, whose answer would begin it all anew.
    expect(FakeHls.made).toHaveLength(2);
  });

  test("that is lost on the plain playlists goes on at the edge when that has media again", async () => {
    hls().tell("ERROR", { fatal: true, type: "networkError", details: "levelLoadError" });
    expect(hls().url).toBe(PLAIN);
    await stalls(WINDOW_MS + 20_000);
    expect(engine.getState()).toMatchObject({ phase: "lost", source: "plain" });
    edge = '#EXTM3U\n#EXT-X-PART:DURATION=0.2,URI="a.ts"\n';
    await stalls(60_000);
    expect(engine.getState()).toMatchObject({ phase: "lost", source: "plain" });
    edge += '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="b.ts"\n';
    await vi.advanceTimersByTimeAsync(20_000);
    expect(hls().url).toBe(EDGE);
    expect(engine.getState()).toMatchObject({ phase: "reconnecting", source: "low-latency" });
  });

  describe("that begins", () => {
    /** Its first part is there: two tenths of a second from a keyframe on. */
    const partComes = () => {
      video.readyState = HTMLMediaElement.HAVE_METADATA;
      video.bufferedFrom = 20;
      video.bufferedTo = 20.2;
      video.currentTime = 0;
      hls().tell("BUFFER_APPENDED");
    };

    test("shows the edge's first part, and leaves it to hls.js from then on", () => {
      partComes();
      expect(video.currentTime).toBe(20);
      video.currentTime = 10;
      hls().tell("BUFFER_APPENDED");
      expect(video.currentTime).toBe(10);
    });

    test("shows it as soon as it is known what it is", () => {
      partComes();
      engine.retry();
      video.readyState = HTMLMediaElement.HAVE_NOTHING;
      video.currentTime = 0;
      hls().tell("BUFFER_APPENDED");
      expect(video.currentTime).toBe(0);
      video.readyState = HTMLMediaElement.HAVE_METADATA;
      video.dispatchEvent(new Event("loadedmetadata"));
      expect(video.currentTime).toBe(20);
    });

    test("keeps the rung that it begins with until there is a picture", () => {
      expect(hls().loadLevel).toBe(1);
      video.dispatchEvent(new Event("loadeddata"));
      expect(hls().autoLevelEnabled).toBe(true);
      hls().tell("LEVEL_LOADED", details(4));
      expect(hls().autoLevelEnabled).toBe(true);
    });

    test("goes on with the rung that was chosen meanwhile", () => {
      engine.choose(2);
      video.dispatchEvent(new Event("loadeddata"));
      expect(hls().loadLevel).toBe(2);
    });

    test("on the plain playlists begins where hls.js wants it", () => {
      hls().tell("ERROR", { fatal: true, type: "networkError", details: "levelLoadError" });
      partComes();
      expect(hls().url).toBe(PLAIN);
      expect(video.currentTime).toBe(0);
    });
  });

  describe("that cannot be decoded", () => {
    const decoderFails = () => {
      video.error = { code: 3, MEDIA_ERR_DECODE: 3 };
      video.dispatchEvent(new Event("error"));
    };
    /** Of which hls.js learns when it gives the element more, perhaps before its event comes. */
    const hlsBeginsAnew = () => {
      video.error = { code: 3, MEDIA_ERR_DECODE: 3 };
      hls().recoverMediaError();
      video.dispatchEvent(new Event("error"));
    };

    beforeEach(() => vi.advanceTimersByTimeAsync(1_000));

    test("plays on where hls.js has attached the element anew by itself", async () => {
      hlsBeginsAnew();
      expect(video.paused).toBe(false);
      await vi.advanceTimersByTimeAsync(1_000);
      hlsBeginsAnew();
      expect(video.paused).toBe(false);
      expect(FakeHls.made).toHaveLength(1);
    });

    test("stays paused for who had paused it where hls.js has attached the element anew", async () => {
      video.paused = true;
      await vi.advanceTimersByTimeAsync(1_000);
      hlsBeginsAnew();
      expect(video.paused).toBe(true);
      hls().tell("ERROR", { fatal: true, type: "mediaError", details: "bufferAppendError" });
      expect(video.paused).toBe(true);
    });

    test("is begun anew and plays on", () => {
      decoderFails();
      expect(FakeHls.made).toHaveLength(2);
      expect(hls().url).toBe(EDGE);
      expect(video.paused).toBe(false);
    });

    test("stays paused for who had paused it", async () => {
      video.paused = true;
      await vi.advanceTimersByTimeAsync(1_000);
      decoderFails();
      expect(FakeHls.made).toHaveLength(2);
      expect(video.paused).toBe(true);
    });

    test("again at once is tried later, and plays then", async () => {
      decoderFails();
      await vi.advanceTimersByTimeAsync(1_000);
      decoderFails();
      expect(FakeHls.made).toHaveLength(2);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(FakeHls.made).toHaveLength(3);
      expect(video.paused).toBe(false);
    });
  });

  test("that is over is played to its end by who paused in its last second", async () => {
    video.bufferedTo += 0.6;
    hls().tell("LEVEL_LOADED", details(3, false));
    await vi.advanceTimersByTimeAsync(1_000);
    video.paused = true;
    await vi.advanceTimersByTimeAsync(6_000);
    video.paused = false;
    await vi.advanceTimersByTimeAsync(500);
    expect(FakeHls.made).toHaveLength(1);
    // What does not come to its end is fetched elsewhere, as ever.
    await vi.advanceTimersByTimeAsync(5_000);
    expect(hls().url).toBe(PLAIN);
  });
});
