/**
 * HLS playlists as a viewer gets them: a parser that accepts only what RFC 8216 allows, and a
 * watch that keeps every version seen and checks what must hold across versions.
 */

/**
 * @typedef {object} Segment
 * @property {number} msn media sequence number
 * @property {string} uri
 * @property {number} duration seconds
 * @property {boolean} discontinuity a DISCONTINUITY tag precedes it
 * @property {number} cc its discontinuity number: how many precede it in the broadcast
 * @property {boolean} gap
 * @property {number | null} date Unix ms of its own PROGRAM-DATE-TIME tag
 */

const attributes = (text) => {
  const found = {};
  for (const [, name, quoted, plain] of text.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g)) {
    found[name] = quoted ?? plain;
  }
  return found;
};

function linesOf(text) {
  const lines = text.split(/\r?\n/).filter((line) => line !== "");
  if (lines.shift() !== "#EXTM3U") {
    throw new Error(`not a playlist: ${JSON.stringify(text.slice(0, 80))}`);
  }
  return lines;
}

const whole = (text, tag) => {
  if (!/^\d+$/.test(text)) {
    throw new Error(`${tag} is not a whole number: ${text}`);
  }
  return Number(text);
};

/** Parses a master playlist into its variants, in order. */
export function parseMaster(text) {
  const variants = [];
  let pending = null;
  for (const line of linesOf(text)) {
    if (line.startsWith("#EXT-X-STREAM-INF:")) {
      const a = attributes(line.slice("#EXT-X-STREAM-INF:".length));
      const [width, height] = (a.RESOLUTION ?? "0x0").split("x").map(Number);
      pending = {
        bandwidth: whole(a.BANDWIDTH ?? "", "BANDWIDTH"),
        averageBandwidth: a["AVERAGE-BANDWIDTH"] ? Number(a["AVERAGE-BANDWIDTH"]) : null,
        codecs: a.CODECS ?? "",
        width,
        height,
        frameRate: a["FRAME-RATE"] ? Number(a["FRAME-RATE"]) : null,
      };
    } else if (!line.startsWith("#")) {
      if (!pending) {
        throw new Error(`URI without EXT-X-STREAM-INF: ${line}`);
      }
      variants.push({ ...pending, uri: line, name: line.split("/")[0] });
      pending = null;
    }
  }
  return variants;
}

/** Parses a media playlist. */
export function parseMedia(text) {
  const list = {
    version: 1,
    targetDuration: null,
    mediaSequence: 0,
    discontinuitySequence: 0,
    ended: false,
    /** @type {Segment[]} */
    segments: [],
  };
  let next = { discontinuity: false, gap: false, duration: null, date: null };
  let cc = null;
  for (const line of linesOf(text)) {
    const [, tag, value = ""] = /^#(EXT[^:]*):?(.*)$/.exec(line) ?? [];
    switch (tag) {
      case "EXT-X-VERSION":
        list.version = whole(value, tag);
        break;
      case "EXT-X-TARGETDURATION":
        list.targetDuration = whole(value, tag);
        break;
      case "EXT-X-MEDIA-SEQUENCE":
        list.mediaSequence = whole(value, tag);
        break;
      case "EXT-X-DISCONTINUITY-SEQUENCE":
        list.discontinuitySequence = whole(value, tag);
        break;
      case "EXT-X-DISCONTINUITY":
        next.discontinuity = true;
        break;
      case "EXT-X-GAP":
        next.gap = true;
        break;
      case "EXT-X-PROGRAM-DATE-TIME":
        next.date = Date.parse(value);
        break;
      case "EXTINF":
        next.duration = Number(value.split(",")[0]);
        break;
      case "EXT-X-ENDLIST":
        list.ended = true;
        break;
      default:
        if (line.startsWith("#")) {
          break;
        }
        if (next.duration === null) {
          throw new Error(`URI without EXTINF: ${line}`);
        }
        cc = (cc ?? list.discontinuitySequence) + (next.discontinuity ? 1 : 0);
        list.segments.push({
          ...next,
          cc,
          uri: line,
          msn: list.mediaSequence + list.segments.length,
        });
        next = { discontinuity: false, gap: false, duration: null, date: null };
    }
  }
  if (list.targetDuration === null) {
    throw new Error("no EXT-X-TARGETDURATION");
  }
  return list;
}

/** What is wrong with one version by itself; empty when nothing is. */
export function faultsOf(list) {
  const faults = [];
  for (const { msn, duration, uri } of list.segments) {
    if (Math.round(duration) > list.targetDuration) {
      faults.push(`number ${msn} lasts ${duration} s, above the target ${list.targetDuration}`);
    }
    if (/^([a-z]+:)?\/\//i.test(uri) || uri.startsWith("/")) {
      faults.push(`number ${msn} has the absolute name ${uri}`);
    }
  }
  const names = new Set(list.segments.map(({ uri }) => uri));
  if (names.size !== list.segments.length) {
    faults.push("a name is listed twice");
  }
  return faults;
}

/**
 * Everything a viewer ever saw of one playlist.
 *
 * hls.js stops for good when a number changes its name or its discontinuity number, or when the
 * list goes back: `faults` collects exactly that.
 */
export class PlaylistHistory {
  /** number → the name, discontinuity number and duration it was first seen with */
  #known = new Map();
  #last = null;
  /** The newest version. */
  latest = null;
  /** How many different versions were seen. */
  versions = 0;
  /** @type {string[]} */
  faults = [];

  /** Takes in a version. */
  see(text) {
    if (text === this.#last) {
      return this.latest;
    }
    this.#last = text;
    const list = parseMedia(text);
    this.faults.push(...faultsOf(list));
    if (this.latest) {
      this.#compare(this.latest, list);
    }
    for (const segment of list.segments) {
      this.#remember(segment);
    }
    this.latest = list;
    this.versions += 1;
    return list;
  }

  #compare(before, now) {
    const end = (list) => list.mediaSequence + list.segments.length;
    if (now.mediaSequence < before.mediaSequence) {
      this.faults.push(`media sequence went from ${before.mediaSequence} to ${now.mediaSequence}`);
    }
    if (end(now) < end(before)) {
      this.faults.push(`the newest number went from ${end(before) - 1} to ${end(now) - 1}`);
    }
    if (now.discontinuitySequence < before.discontinuitySequence) {
      this.faults.push("the discontinuity sequence went back");
    }
    if (before.ended && !now.ended) {
      this.faults.push("ENDLIST was taken back");
    }
    if (now.targetDuration !== before.targetDuration) {
      this.faults.push(`the target went from ${before.targetDuration} to ${now.targetDuration}`);
    }
  }

  #remember({ msn, uri, cc, duration, gap }) {
    const known = this.#known.get(msn);
    if (!known) {
      this.#known.set(msn, { uri, cc, duration, gap });
      return;
    }
    if (known.uri !== uri) {
      this.faults.push(`number ${msn} was ${known.uri} and became ${uri}`);
    }
    if (known.cc !== cc) {
      this.faults.push(`number ${msn} had discontinuity ${known.cc} and then ${cc}`);
    }
    if (known.duration !== duration) {
      this.faults.push(`number ${msn} lasted ${known.duration} s and then ${duration} s`);
    }
  }
}

/** Polls playlists as a player does, and keeps their histories until `stop`. */
export class PlaylistWatch {
  #stopped = false;
  #loops;
  /** @type {Map<string, PlaylistHistory>} by rung */
  histories = new Map();

  /** @param {(name: string) => Promise<string | null>} fetchPlaylist text, `null` when not there */
  constructor(names, fetchPlaylist, everyMs = 700) {
    this.#loops = names.map(async (name) => {
      const history = new PlaylistHistory();
      this.histories.set(name, history);
      while (!this.#stopped) {
        try {
          const text = await fetchPlaylist(name);
          if (text !== null) {
            history.see(text);
          }
        } catch (error) {
          // Not reached is the outage under test; a list that does not parse is a fault.
          if (!(error instanceof TypeError) && error.name !== "TimeoutError") {
            history.faults.push(String(error.message));
          }
        }
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
    });
  }

  latest(name) {
    return this.histories.get(name)?.latest ?? null;
  }

  async stop() {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  /** All faults of all playlists, in words. */
  faults() {
    return [...this.histories].flatMap(([name, { faults }]) =>
      faults.map((fault) => `${name}: ${fault}`),
    );
  }
}
