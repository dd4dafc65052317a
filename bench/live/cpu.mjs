/**
 * What the platform costs above its encoder: CPU of the transcoder and its children while one clip
 * is pushed, in turn with a bare ffmpeg that reads the same clip and makes the same ladder.
 */

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { sleep, until } from "../../e2e/lib/wait.mjs";
import { cpuOf, encodersOf, machineCpu } from "./processes.mjs";
import { publish, sentWhole } from "./publisher.mjs";
import { fixed, median, percent, spread, table } from "./text.mjs";

/** The last segments are still stored when ffmpeg is gone. */
const SETTLE_MS = 2_000;

/** Runs the pairs, and returns the section of the results. */
export async function cpu({ stack, api, source, pairs, scratch, calm, say }) {
  const pid = stack.facts.pids.transcoder;
  const rows = [];
  let argv;
  for (let pair = 1; pair <= pairs; pair += 1) {
    await calm();
    const marquee = await observed(() => pushed({ stack, api, source, pid }));
    argv ??= marquee.argv;
    say(
      `pair ${pair}, transcoder: ${fixed(marquee.total)} CPU-s ` +
        `(own ${fixed(marquee.own)}, ffmpeg ${fixed(marquee.ffmpeg)}), ${conditions(marquee)}`,
    );
    if (marquee.argv.join("\0") !== argv.join("\0")) {
      throw new Error("the transcoder encoded two pushes of one clip differently");
    }
    const bare = await observed(() => bareLadder({ argv, source, scratch }));
    say(`pair ${pair}, bare ffmpeg: ${fixed(bare.total)} CPU-s, ${conditions(bare)}`);
    rows.push({ marquee, bare });
  }
  return report(rows, source, argv);
}

const conditions = ({ elsewhere, steal }) =>
  `elsewhere on the machine ${fixed(elsewhere)} cores, stolen by its host ${fixed(steal)}`;

/** Adds what else the machine did meanwhile: it is what makes CPU seconds noisy. */
async function observed(work) {
  const [before, began] = [await machineCpu(), performance.now()];
  const result = await work();
  const [after, seconds] = [await machineCpu(), (performance.now() - began) / 1000];
  return {
    ...result,
    elsewhere: (after.busy - before.busy - result.total) / seconds,
    steal: (after.steal - before.steal) / seconds,
  };
}

/** One push of the clip, from before its publisher came to after its last segment. */
async function pushed({ stack, api, source, pid }) {
  const before = await cpuOf(pid);
  const broadcaster = await api.broadcaster("bench");
  const publisher = publish({ srtUrl: stack.srtUrl, key: broadcaster.key, file: source.file });
  const encoder = await until(
    "the transcoder runs ffmpeg",
    20_000,
    async () => (await encodersOf(pid))[0],
  );
  await sentWhole(publisher);
  await until("its ffmpeg has ended", 20_000, async () => !(await encodersOf(pid)).length);
  await sleep(SETTLE_MS);
  const after = await cpuOf(pid);
  await checkWhole(broadcaster, source);
  await broadcaster.stop();
  await broadcaster.becomes("active");
  const own = after.own - before.own;
  const ffmpeg = after.reaped - before.reaped;
  return { own, ffmpeg, total: own + ffmpeg, argv: encoder.argv };
}

/** A transcoder that drops work is cheap. */
async function checkWhole(broadcaster, source) {
  const master = await broadcaster.playlist();
  const rungs = master.split("\n").filter((line) => line.endsWith("/playlist.m3u8"));
  for (const uri of rungs) {
    await until(`${uri} holds the whole clip`, 10_000, async () => {
      const playlist = await broadcaster.playlist(path.dirname(uri));
      const durations = [...playlist.matchAll(/#EXTINF:([\d.]+)/g)].map(([, s]) => Number(s));
      const total = durations.reduce((sum, s) => sum + s, 0);
      return !playlist.includes("EXT-X-GAP") && total > source.seconds - 1;
    });
  }
}

/** The transcoder's own command line, with the clip in real time as input and files as outputs. */
export function bareArguments(argv, clipFile, folder) {
  const args = argv.slice(1).map((arg, index, all) => {
    const [, fd] = /^pipe:(\d+)$/.exec(arg) ?? [];
    if (all[index - 1] === "-progress") {
      return "/dev/null";
    }
    return fd && fd !== "0" ? path.join(folder, `${fd}.ts`) : arg;
  });
  const input = args.indexOf("pipe:0");
  args[input] = clipFile;
  args[args.indexOf("-protocol_whitelist") + 1] = "file";
  args.splice(args.indexOf("-protocol_whitelist"), 0, "-re");
  return args;
}

async function bareLadder({ argv, source, scratch }) {
  await mkdir(scratch, { recursive: true });
  const folder = await mkdtemp(path.join(scratch, "ladder-"));
  try {
    // What this process's children cost is known when they have ended; it has no other one now.
    const before = await cpuOf(process.pid);
    const args = ["-n", "5", "ffmpeg", ...bareArguments(argv, source.file, folder)];
    const child = spawn("nice", args, { stdio: ["ignore", "ignore", "inherit"] });
    const code = await new Promise((resolve) => child.once("exit", resolve));
    if (code !== 0) {
      throw new Error(`the bare ffmpeg ended with ${code}`);
    }
    return { total: (await cpuOf(process.pid)).reaped - before.reaped };
  } finally {
    await rm(folder, { recursive: true });
  }
}

function report(rows, source, argv) {
  const ratios = rows.map(({ marquee, bare }) => marquee.total / bare.total);
  const of = (side, what) => rows.map((row) => row[side][what]);
  const ratio = median(of("marquee", "total")) / median(of("bare", "total"));
  const line = (name, values, extra) => [
    name,
    fixed(median(values)),
    spread(values),
    fixed(median(values) / source.seconds, 3),
    extra,
  ];
  return [
    `${source.text}; ${source.seconds} s of media, ${rows.length} pairs, transcoder and bare ffmpeg in turn.`,
    "",
    table(
      ["CPU seconds", "median", "min – max", "cores", "of bare ffmpeg"],
      [
        line("transcoder, all processes", of("marquee", "total"), percent(ratio)),
        line("· its ffmpeg and ffprobe", of("marquee", "ffmpeg"), share(rows, "ffmpeg")),
        line("· itself", of("marquee", "own"), share(rows, "own")),
        line("bare ffmpeg, same ladder to files", of("bare", "total"), "100.0 %"),
      ],
    ),
    "",
    `Overhead ${signed(ratio - 1)} (goal: at most +5 %); pair by pair ` +
      `${ratios.map((value) => signed(value - 1)).join(", ")}.`,
    `Noise: others on the machine used ${spread(rows.flatMap((r) => [r.marquee.elsewhere, r.bare.elsewhere]))} cores meanwhile ` +
      `(the publisher, storage and the other services among them), its host took ` +
      `${spread(rows.flatMap((r) => [r.marquee.steal, r.bare.steal]))}.`,
    "",
    "<details><summary>The ladder's command line, as the transcoder ran it</summary>",
    "",
    "```",
    argv.join(" "),
    "```",
    "",
    "</details>",
  ].join("\n");
}

const share = (rows, what) =>
  percent(median(rows.map((row) => row.marquee[what])) / median(rows.map((row) => row.bare.total)));

const signed = (value) => `${value < 0 ? "−" : "+"}${(Math.abs(value) * 100).toFixed(1)} %`;
