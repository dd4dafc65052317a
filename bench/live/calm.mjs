/** Waits for a machine that has nothing else to do, since its neighbours' work shows in the figures. */

import { sleep } from "../../e2e/lib/wait.mjs";
import { machineCpu } from "./processes.mjs";

/** Cores in use that still count as calm; the idle stack takes a tenth. */
const CALM_CORES = 0.35;
const LOOK_MS = 5_000;

/** Waits at most `withinS` seconds, and says so when it was in vain. */
export async function calm(withinS, say) {
  const deadline = performance.now() + withinS * 1000;
  for (;;) {
    const [before, began] = [await machineCpu(), performance.now()];
    await sleep(LOOK_MS);
    const seconds = (performance.now() - began) / 1000;
    const cores = ((await machineCpu()).busy - before.busy) / seconds;
    if (cores <= CALM_CORES) {
      return;
    }
    if (performance.now() > deadline) {
      say(`the machine is not calm: ${cores.toFixed(2)} cores are busy with other things`);
      return;
    }
  }
}
