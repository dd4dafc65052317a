/** bench/RESULTS.md: each measurement replaces its own section, and says on what and how it ran. */

import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const file = path.join(repository, "bench/RESULTS.md");

const git = (...args) =>
  execFileSync("git", args, { cwd: repository, stdio: ["ignore", "pipe", "ignore"] })
    .toString()
    .trim();

/** The present commit; `+` where sources of what runs differ from it. */
function presentCommit() {
  try {
    const changed = git("status", "--porcelain", "--", "Cargo.lock", "crates", "services", "nginx");
    return git("rev-parse", "--short", "HEAD") + (changed ? "+" : "");
  } catch {
    return "unknown";
  }
}

/** Taken at the start: a commit made while it is measured is not what is measured. */
const commit = presentCommit();

function machine() {
  const cpus = os.cpus();
  const memory = Math.round(os.totalmem() / 2 ** 30);
  return `${cpus.length} cores (${cpus[0]?.model.trim() ?? "unknown"}), ${memory} GiB`;
}

/** Puts a section in the place of its last version, which its markers delimit. */
export async function record({ name, command, text }) {
  const [begin, end] = [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
  const stamp = [
    `\`${command}\``,
    new Date().toISOString().slice(0, 10),
    `commit ${commit}`,
    machine(),
  ].join(" · ");
  const section = `${begin}\n${stamp}\n\n${text}\n${end}`;
  const whole = await readFile(file, "utf8");
  const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
  if (from < 0 || to < from) {
    throw new Error(`${file} has no section ${name}`);
  }
  await writeFile(file, whole.slice(0, from) + section + whole.slice(to + end.length));
}
