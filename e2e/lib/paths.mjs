/** Where things are, from this file's own place. */

import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

const cache = process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), ".cache");

/** Prepared inputs, made once and shared by all checkouts. */
export const mediaDir = process.env.MARQUEE_E2E_MEDIA ?? path.join(cache, "marquee/e2e-media");

/** `stack.json` of the stack under test. */
export const stackFile =
  process.env.MARQUEE_STACK ?? path.join(repository, ".local/e2e/stack.json");

/** The built page; compose tests look at the one in the image. */
export const webDist = process.env.MARQUEE_WEB_DIST ?? path.join(repository, "web/dist");

/** Screenshots of failed tests. */
export const artifactDir =
  process.env.MARQUEE_E2E_ARTIFACTS ?? path.join(repository, ".local/e2e-artifacts");

/** The schemathesis command, which scripts/e2e installs. */
export const schemathesis = process.env.MARQUEE_SCHEMATHESIS ?? "schemathesis";
