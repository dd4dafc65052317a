/** Whatever is asked of the API, it answers what its own documents say: schemathesis asks. */

import assert from "node:assert/strict";
import path from "node:path";
import { before, test } from "node:test";
import { Api } from "../lib/api.mjs";
import { repository, schemathesis, stackFile } from "../lib/paths.mjs";
import { start } from "../lib/process.mjs";
import { Stack } from "../lib/stack.mjs";

const DOCUMENTS = ["auth", "stream"];
/** An admin's routes would lead the proxy's checks to whatever address is made up. */
const WITHOUT_ADMINS = ["proxy"];
/** Cases of random data an operation, besides those at the bounds of each of its fields. */
const RANDOM_CASES = 10;
/** The same cases in every run. */
const SEED = 1;
const LIMIT_MS = 300_000;
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
];
/** An event stream has no end to wait for; tests of its own read it. */
const ENDLESS = "/api/streams/{id}/events";

let stack;
let api;
/** One for each service, and before wrong passwords are tried, which lock the account for a while. */
let adminTokens;

before(async () => {
  stack = await Stack.open();
  api = new Api(stack);
  adminTokens = new Map();
  for (const service of DOCUMENTS) {
    adminTokens.set(service, await api.signIn(stack.user("admin")));
  }
});

/** Asks all operations of a service's document that begin with `prefix`. */
async function ask(service, { url, prefix, headers = {}, except = [] }) {
  const args = [
    "run",
    path.join(repository, "services", service, "openapi.json"),
    ...["--url", url],
    ...["--include-path-regex", `^${prefix}/`],
    ...[ENDLESS, ...except].flatMap((operation) => ["--exclude-path", operation]),
    ...Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
    ...["--checks", CHECKS.join(",")],
    ...["--phases", "examples,coverage,fuzzing"],
    ...["--max-examples", `${RANDOM_CASES}`],
    ...["--seed", `${SEED}`],
    ...["--request-timeout", "20"],
    ...["--suppress-health-check", "all"],
    ...["--warnings", "off"],
    "--no-color",
  ];
  // It leaves notes of what failed where it runs.
  const asked = start(schemathesis, args, { cwd: path.dirname(stackFile) });
  const timer = setTimeout(() => asked.child.kill("SIGKILL"), LIMIT_MS);
  const { code, signal, error } = await asked.exited;
  clearTimeout(timer);
  assert.equal(code, 0, `${error ?? signal ?? ""}\n${asked.tail()}`);
}

const bearer = (token) => ({ authorization: `Bearer ${token}` });
/** The token would be worth nothing for what is asked after these. */
const SIGN_OUT = ["/api/auth/logout", "/api/auth/me/sessions/{id}"];

for (const service of [...DOCUMENTS, ...WITHOUT_ADMINS]) {
  test(`${service}: a stranger`, () => ask(service, { url: stack.gatewayUrl, prefix: "/api" }));

  test(`${service}: a user`, async () => {
    const { token } = await api.broadcaster("contract");
    await ask(service, {
      url: stack.gatewayUrl,
      prefix: "/api",
      headers: bearer(token),
      except: SIGN_OUT,
    });
    const { status } = await api.request("GET", "/api/auth/me", { token });
    assert.equal(status, 200, "all of it was asked by somebody signed in");
  });
}

for (const service of DOCUMENTS) {
  test(`${service}: an admin`, async () => {
    const token = adminTokens.get(service);
    await ask(service, {
      url: stack.gatewayUrl,
      prefix: "/api",
      headers: bearer(token),
      except: SIGN_OUT,
    });
    const { status } = await api.request("GET", "/api/auth/users", { token });
    assert.equal(status, 200, "all of it was asked by an admin");
  });

  test(`${service}: another service`, () =>
    ask(service, {
      url: stack.serviceUrl(service),
      prefix: "/internal",
      headers: { "x-internal-api-key": stack.facts.internal_api_key },
    }));
}
