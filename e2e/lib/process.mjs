/** Child processes that never outlive the test run. */

import { spawn } from "node:child_process";

const running = new Set();

process.on("exit", () => {
  for (const child of running) {
    child.kill("SIGKILL");
  }
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => process.exit(1));
}

const KEPT_BYTES = 64 * 1024;

/** Starts a command; `.tail()` is the end of what it wrote, `.exited` its exit. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  running.add(child);
  let tail = "";
  const keep = (chunk) => {
    tail = (tail + chunk).slice(-KEPT_BYTES);
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const exited = new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: null, signal: null, error }));
    child.once("exit", (code, signal) => resolve({ code, signal }));
  }).finally(() => running.delete(child));
  return { child, exited, tail: () => tail };
}

/** Runs a command to its end and returns its standard output. */
export async function run(command, args, { timeoutMs = 120_000, ...options } = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  running.add(child);
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const out = [];
  let errors = "";
  child.stdout.on("data", (chunk) => out.push(chunk));
  child.stderr.on("data", (chunk) => {
    errors = (errors + chunk).slice(-KEPT_BYTES);
  });
  const { code, signal, error } = await new Promise((resolve) => {
    child.once("error", (error) => resolve({ error }));
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  clearTimeout(timer);
  running.delete(child);
  if (error) {
    throw error;
  }
  if (code !== 0) {
    throw new Error(`${command} ${args.join(" ")}: ${signal ?? `exit ${code}`}\n${errors}`);
  }
  return Buffer.concat(out).toString();
}
