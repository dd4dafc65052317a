/** Writes `stack.json` of the compose project that runs: where the tests find what, as the launcher does. */

import { readFile, writeFile } from "node:fs/promises";
import { stackFile } from "../lib/paths.mjs";
import { composeArgs, project, runFile } from "./project.mjs";

/** The local stack's names for what compose calls otherwise. */
const NAMES = {
  auth: "auth-service",
  stream: "stream-service",
  gateway: "api-gateway",
  nginx: "frontend",
};
const ACCOUNTS = [
  { username: "admin", role: "admin", subscribed: false },
  { username: "viewer", role: "user", subscribed: true },
  { username: "demo", role: "user", subscribed: false },
];

/** `NAME=VALUE` lines as an object. */
const variables = (text) =>
  Object.fromEntries(
    text
      .split("\n")
      .map((line) => /^(\w+)=(.*)$/.exec(line)?.slice(1))
      .filter(Boolean),
  );

const own = project();
const ports = variables(await readFile(runFile("env"), "utf8"));
const url = (service, scheme = "http") => `${scheme}://127.0.0.1:${ports[`E2E_${service}_PORT`]}`;
const secrets = variables(
  await own.compose(
    ...["run", "--rm", "--no-deps", "--entrypoint", "sh", "secrets", "-c"],
    'cd /secrets/kept && for name in *; do echo "$name=$(cat "$name")"; done',
  ),
);
const { services } = await own.config();

const facts = {
  kind: "compose",
  compose: {
    project: own.name,
    args: composeArgs(),
    names: NAMES,
    spare: {
      transcoder: {
        name: "transcoder-2",
        url: url("TRANSCODER_2"),
        srt_url: url("SRT_2", "srt"),
        rtmp_url: url("RTMP_2", "rtmp"),
      },
    },
  },
  base_url: "http://localhost",
  gateway_url: "http://localhost:8080",
  srt_url: "srt://127.0.0.1:8890",
  rtmp_url: "rtmp://127.0.0.1:1935",
  proxy_url: url("PROXY"),
  s3: {
    access_key: services.minio.environment.MINIO_ROOT_USER,
    secret_key: secrets.S3_SECRET_KEY,
  },
  internal_api_key: secrets.INTERNAL_API_KEY,
  services: {
    auth: url("AUTH"),
    stream: url("STREAM"),
    transcoder: url("TRANSCODER"),
    proxy: url("PROXY"),
  },
  srt_urls: { transcoder: "srt://127.0.0.1:8890" },
  rtmp_urls: { transcoder: "rtmp://127.0.0.1:1935" },
  users: ACCOUNTS.map((account) => ({
    ...account,
    email: `${account.username}@marquee.example`,
    password: secrets[`${account.username.toUpperCase()}_PASSWORD`],
  })),
};
await writeFile(stackFile, JSON.stringify(facts, null, 2), { mode: 0o600 });
