/**
 * Writes the compose project's variables to standard output: free ports of loopback for what only tests reach, and
 * the settings of the local stack's tests.
 */

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

/** All at once, so that no two are the same. */
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => net.createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise((resolve, reject) => {
          server.once("error", reject);
          server.listen(0, "127.0.0.1", () => resolve(server.address().port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

const ports = await freePorts(PORTS.length);
for (const [index, name] of PORTS.entries()) {
  console.log(`E2E_${name}_PORT=${ports[index]}`);
}
for (const [name, value] of Object.entries(SETTINGS)) {
  console.log(`${name}=${value}`);
}
