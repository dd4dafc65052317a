/**
 * A live stream without a platform behind it: a prepared ladder, listed as if it were made now,
 * with switches for every kind of trouble. The player's own tests run against it.
 */

import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";
import { FakeViewers } from "./fake-viewers.mjs";

const SEGMENT_S = 2;
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

export class FakeLive {
  /**
   * The one stream's public view; tests change it. `null` entries make the API fail. Its
   * `viewer_count` is of others than `viewers`.
   */
  stream;
  /** Who sends heartbeats. */
  viewers = new FakeViewers();
  apiDown = false;
  /** Playlists answer 404. */
  gone = false;
  /** No further segment is listed. */
  stalled = false;
  ended = false;
  /** The number of a segment that arrives whole and cannot be decoded. */
  undecodable = null;
  /** The paths that were asked for, in order. */
  requests = [];
  /** Awaited before a path is answered; what it throws is the answer. */
  before = async () => {};

  #server;
  #ladder;
  #dist;
  #id = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001";
  #begunAt = 0;
  #stalledFor = 0;
  #stallBegan = null;
  #listedAtEnd = null;

  /**
   * @param {{dir: string, rungs: object[], segments: number}} ladder from `prepareLadder`
   * @param {number} dvrS seconds that were live before the first viewer came
   */
  constructor(ladder, dist, dvrS = 60) {
    this.#ladder = ladder;
    this.#dist = dist;
    this.#begunAt = Date.now() - dvrS * 1000;
    this.#server = http.createServer((request, response) => {
      this.#answer(request, response).catch((error) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  async listen() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    this.stream = {
      id: this.#id,
      title: "Harbour at dusk, live from the pier",
      username: "mira",
      status: "live",
      viewer_count: 128,
      available_qualities: this.#ladder.rungs.map(({ name }) => name),
      thumbnail_url: null,
      started_at: new Date(this.#begunAt).toISOString(),
      hls_url: `${this.url}/live-streams/${this.#id}/master.m3u8`,
      ll_hls_url: null,
    };
    return this;
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  /** The publisher leaves: the playlist stands still until `resume`. */
  stall() {
    this.#stallBegan = Date.now();
    this.stalled = true;
  }

  /** … and is back, with a DISCONTINUITY where it left. */
  resume() {
    this.#stalledFor += Date.now() - this.#stallBegan;
    this.#stallBegan = null;
    this.stalled = false;
  }

  end() {
    this.ended = true;
    this.#listedAtEnd = this.#listed();
  }

  /** The number of the newest segment that is listed. */
  get newest() {
    return this.#listed() - 1;
  }

  #listed() {
    if (this.#listedAtEnd !== null) {
      return this.#listedAtEnd;
    }
    const now = this.#stallBegan ?? Date.now();
    const live = (now - this.#begunAt - this.#stalledFor) / 1000;
    return Math.min(Math.floor(live / SEGMENT_S), this.#ladder.segments);
  }

  async #answer(request, response) {
    const { pathname } = new URL(request.url, this.url);
    this.requests.push(pathname);
    await this.before(pathname);
    if (pathname.startsWith("/api/")) {
      return this.#api(pathname, request, response);
    }
    const media = /^\/live-streams\/[^/]+\/(.+)$/.exec(pathname);
    if (media) {
      return this.#media(media[1], response);
    }
    const file = path.extname(pathname) ? pathname : "/index.html";
    const body = await readFile(path.join(this.#dist, path.normalize(file))).catch(() => null);
    if (body === null) {
      response.writeHead(404).end();
      return;
    }
    response
      .writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "text/plain" })
      .end(body);
  }

  async #api(pathname, request, response) {
    const json = (status, body, headers = {}) =>
      response
        .writeHead(status, { "content-type": "application/json", ...headers })
        .end(JSON.stringify(body));
    if (this.apiDown) {
      return json(503, { status: 503, code: "unavailable", detail: "The service is away." });
    }
    if (pathname === "/api/streams/public") {
      const items = this.stream && this.stream.status !== "offline" ? [this.stream] : [];
      return json(200, { items: [...items, ...(this.others ?? [])], next_cursor: null });
    }
    if (this.stream && pathname === `/api/streams/${this.stream.id}`) {
      return json(200, { ...this.stream, viewer_count: this.#watching() });
    }
    const isBeat = this.stream && pathname === `/api/streams/${this.stream.id}/viewers`;
    if (isBeat && request.method === "POST") {
      const { session_id } = JSON.parse((await text(request)) || "{}");
      const { session, waitMs } = this.viewers.beat(session_id);
      if (waitMs > 0) {
        const problem = { status: 429, code: "rate_limited", detail: "Too many heartbeats." };
        return json(429, problem, { "retry-after": Math.ceil(waitMs / 1000) });
      }
      return json(200, { session_id: session, viewer_count: this.#watching() });
    }
    return json(404, { status: 404, code: "not_found", detail: "No such stream." });
  }

  #watching() {
    return this.stream.viewer_count + this.viewers.count;
  }

  async #media(file, response) {
    const playlist = {
      "content-type": "application/vnd.apple.mpegurl",
      "cache-control": "no-cache",
    };
    if (file.endsWith(".m3u8") && this.gone) {
      response.writeHead(404).end();
      return;
    }
    if (file === "master.m3u8") {
      response.writeHead(200, playlist).end(this.#master());
      return;
    }
    if (file.endsWith("playlist.m3u8")) {
      response.writeHead(200, playlist).end(this.#playlist());
      return;
    }
    const body = await readFile(path.join(this.#ladder.dir, path.normalize(file)));
    if (path.basename(file) === `${this.undecodable}.ts`) {
      spoilPictures(body);
    }
    response.writeHead(200, { "content-type": "video/mp2t" }).end(body);
  }

  #master() {
    const variants = this.#ladder.rungs.map(
      ({ name, width, height, bandwidth, codecs }) =>
        `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},RESOLUTION=${width}x${height},CODECS="${codecs}"\n${name}/playlist.m3u8`,
    );
    return `#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n${variants.join("\n")}\n`;
  }

  #playlist() {
    const lines = [
      "#EXTM3U",
      "#EXT-X-VERSION:6",
      `#EXT-X-TARGETDURATION:${SEGMENT_S}`,
      "#EXT-X-MEDIA-SEQUENCE:1",
      "#EXT-X-INDEPENDENT-SEGMENTS",
      `#EXT-X-PROGRAM-DATE-TIME:${new Date(this.#begunAt + this.#stalledFor).toISOString()}`,
    ];
    for (let i = 0; i < this.#listed(); i += 1) {
      lines.push(`#EXTINF:${SEGMENT_S}.000,`, `${i}.ts`);
    }
    if (this.ended) {
      lines.push("#EXT-X-ENDLIST");
    }
    return `${lines.join("\n")}\n`;
  }
}

const TS_PACKET = 188;
const VIDEO_PID = 0x100;

/** Overwrites what the pictures of a segment hold, and leaves what says where each begins. */
function spoilPictures(segment) {
  for (let at = 0; at + TS_PACKET <= segment.length; at += TS_PACKET) {
    const pid = segment.readUInt16BE(at + 1) & 0x1fff;
    const begins = segment[at + 1] & 0x40;
    const adaptation = segment[at + 3] & 0x20 ? 1 + segment[at + 4] : 0;
    if (pid === VIDEO_PID && !begins) {
      for (let byte = at + 4 + adaptation; byte < at + TS_PACKET; byte += 1) {
        segment[byte] = (byte * 91) | 1;
      }
    }
  }
}
