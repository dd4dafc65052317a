/** The compose project under test, as scripts/e2e-compose has named it. */

import path from "node:path";
import { Project } from "../lib/docker.mjs";

const ARGS = "MARQUEE_COMPOSE_ARGS";

function variable(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: this is started by make e2e-compose`);
  }
  return value;
}

/** What stands between `docker compose` and its command. */
export const composeArgs = () => variable(ARGS).split(" ");

export function project() {
  const args = composeArgs();
  return new Project({ project: args[args.indexOf("--project-name") + 1], args });
}

/** A file of the run: what was measured and what is handed on. */
export const runFile = (name) => path.join(variable("MARQUEE_COMPOSE_DIR"), name);
