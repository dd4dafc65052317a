/** The public API through the gateway, as a broadcaster's tools use it. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { until } from "./wait.mjs";

export class Api {
  constructor(stack) {
    this.stack = stack;
  }

  /** A request that must not fail on the way; refusals are answers like any other. */
  async request(method, path, { token, body, timeoutMs = 10_000 } = {}) {
    const response = await fetch(this.stack.gatewayUrl + path, {
      method,
      headers: {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body && { "content-type": "application/json" }),
      },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    return { status: response.status, text, json: text ? JSON.parse(text) : null };
  }

  async #expect(status, method, path, options) {
    const answer = await this.request(method, path, options);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    return answer.json;
  }

  /**
   * Registers a user nobody had before, and creates that user's stream and key.
   *
   * @param {string} label what the name begins with
   * @param {string} [title]
   */
  async broadcaster(label, title) {
    const username = `${label}-${randomBytes(4).toString("hex")}`.slice(0, 30);
    const { access_token: token } = await this.#expect(201, "POST", "/api/auth/register", {
      body: { username, email: `${username}@example.com`, password: `correct horse ${username}` },
    });
    const { stream } = title
      ? await this.#expect(201, "POST", "/api/streams", { token, body: { title } })
      : await this.#expect(201, "POST", "/api/streams/generate-key", { token });
    return new Broadcaster(this, { username, token, stream });
  }

  /** Signs in, and returns the access token. */
  async signIn({ username, password }) {
    const body = { login: username, password };
    return (await this.#expect(200, "POST", "/api/auth/login", { body })).access_token;
  }

  publicStreams() {
    return this.#expect(200, "GET", "/api/streams/public?live=true");
  }

  stream(id) {
    return this.#expect(200, "GET", `/api/streams/${id}`);
  }
}

/** One user with one stream. */
export class Broadcaster {
  constructor(api, { username, token, stream }) {
    this.api = api;
    this.username = username;
    this.token = token;
    this.id = stream.id;
    this.key = stream.stream_key;
    this.created = stream;
  }

  get hlsBase() {
    return `${this.api.stack.baseUrl}/live-streams/${this.id}`;
  }

  status() {
    return this.api.stream(this.id).then(({ status }) => status);
  }

  /** Waits until the platform says so. */
  becomes(status, withinMs = 20_000) {
    return until(
      `${this.username} is ${status}`,
      withinMs,
      async () => (await this.status()) === status,
    );
  }

  /** A file below the stream, through nginx; `null` when it is not there. */
  async fetch(file) {
    const response = await fetch(`${this.hlsBase}/${file}`, {
      signal: AbortSignal.timeout(5_000),
    });
    if (response.status === 404 || response.status === 403) {
      await response.arrayBuffer();
      return null;
    }
    if (!response.ok) {
      // Like an unreachable server: nothing was said about the playlist.
      throw new TypeError(`${file}: ${response.status}`);
    }
    return response;
  }

  playlist = async (rung) =>
    (await this.fetch(rung ? `${rung}/playlist.m3u8` : "master.m3u8"))?.text() ?? null;

  /** Ends the broadcast; none running is fine. */
  async stop() {
    const { status, text } = await this.api.request("POST", `/api/streams/${this.id}/stop`, {
      token: this.token,
    });
    assert.ok(status < 300 || status === 409, `stop: ${status} ${text}`);
  }
}
