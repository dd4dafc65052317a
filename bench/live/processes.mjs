/** What processes cost, from /proc. */

import { execFileSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";

/** Ticks a second of the CPU times in /proc. */
const HERTZ = Number(execFileSync("getconf", ["CLK_TCK"]).toString());

/** CPU seconds of one process, and of the children it has waited for; `null` when it is gone. */
export async function cpuOf(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (stat === null) {
    return null;
  }
  // The name in brackets may hold anything; what follows it begins with field 3.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const seconds = (field) => Number(fields[field - 3]) / HERTZ;
  return { own: seconds(14) + seconds(15), reaped: seconds(16) + seconds(17) };
}

/** Pids whose parent is `pid`, with their command lines. */
export async function childrenOf(pid) {
  const children = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) {
      continue;
    }
    const stat = await readFile(`/proc/${entry}/stat`, "utf8").catch(() => "");
    if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === pid) {
      const cmdline = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
      children.push({ pid: Number(entry), argv: cmdline.split("\0").slice(0, -1) });
    }
  }
  return children;
}

/**
 * The ffmpeg processes of a transcoder that make ladders. (Between fork and exec a child still has
 * the command line of its parent, and `nice` comes before ffmpeg.)
 */
export async function encodersOf(pid) {
  return (await childrenOf(pid)).filter(({ argv }) => argv[0] === "ffmpeg");
}

/** Resident and proportional memory in MiB; shared pages count whole in one, in shares in the other. */
export async function memoryOf(pid) {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  const mib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)[1]) / 1024;
  return { rss: mib("Rss"), pss: mib("Pss") };
}

/** CPU seconds the whole machine has worked, and that its host gave to others. */
export async function machineCpu() {
  const line = (await readFile("/proc/stat", "utf8")).split("\n")[0];
  const [user, nice, system, , , irq, softirq, steal] = line
    .split(/\s+/)
    .slice(1)
    .map((ticks) => Number(ticks) / HERTZ);
  return { busy: user + nice + system + irq + softirq, steal };
}
