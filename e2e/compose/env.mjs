/**
 * Writes the compose project's variables to standard output: free ports of loopback for what only tests reach, and
 * the settings of the local stack's tests.
 */

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import dgram from "node:dgram";
import net from "node:net";

const PORTS = ["AUTH", "STREAM", "TRANSCODER", "PROXY", "TRANSCODER_2", "RTMP_2", "SRT_2"];

/** All of the tests' users, viewers and broadcasters come from one address, and nobody waits half a minute. */
const SETTINGS = {
  RECONNECT_GRACE_S: "5",
  BCRYPT_PER_NETWORK: "1000",
  RATE_LIMIT_ADDRESS: "10000/s",
  RATE_LIMIT_ADDRESS_BURST: "20000",
  RATE_LIMIT_LOGIN: "1000/min",
  RATE_LIMIT_LOGIN_ADDRESS: "6000/min",
  RATE_LIMIT_REGISTER: "6000/h",
  RATE_LIMIT_GENERATE_KEY: "1000/h",
  RATE_LIMIT_HEARTBEAT: "3000/min",
  RATE_LIMIT_HEARTBEAT_ADDRESS: "100000/s",
  EVENT_STREAMS_PER_ADDRESS: "20000",
};

/** Below those that systems give to whoever asks for any: a container may be started much later. */
const PORT_RANGE = [10_000, 20_000];
const MOST_TRIES = 1_000;

const binds = (open) => new Promise((resolve) => open(resolve));
const freeOfTcp = (port) =>
  binds((resolve) => {
    const server = net.createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
const freeOfUdp = (port) =>
  binds((resolve) => {
    const socket = dgram.createSocket("udp4").once("error", () => resolve(false));
    socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });

async function freePorts(count) {
  const found = new Set();
  for (let tries = 0; found.size < count; tries += 1) {
    assert.ok(tries < MOST_TRIES, "there are free ports");
    const port = randomInt(...PORT_RANGE);
    if ((await freeOfTcp(port)) && (await freeOfUdp(port))) {
      found.add(port);
    }
  }
  return [...found];
}

const ports = await freePorts(PORTS.length);
for (const [index, name] of PORTS.entries()) {
  console.log(`E2E_${name}_PORT=${ports[index]}`);
}
for (const [name, value] of Object.entries(SETTINGS)) {
  console.log(`${name}=${value}`);
}
