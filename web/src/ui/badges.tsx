/** Small marks for the state of a stream. */

import type { ReactNode } from "react";

const BADGE =
  "inline-flex items-center gap-1.5 rounded-md px-2 py-1 text-xs font-bold leading-none tracking-wide";

/** State of a broadcast by the stream service's word. */
export function StatusBadge({ status }: { status: string }) {
  switch (status) {
    case "live":
      return (
        <span data-testid="status" className={`${BADGE} bg-onair text-[#230404]`}>
          <span className="size-1.5 rounded-full bg-current" aria-hidden="true" />
          LIVE
        </span>
      );
    case "reconnecting":
      return (
        <span data-testid="status" className={`${BADGE} bg-bulb text-night`}>
          RECONNECTING
        </span>
      );
    default:
      return (
        <span data-testid="status" className={`${BADGE} bg-stage-2 text-ink-soft`}>
          OFFLINE
        </span>
      );
  }
}

export function Tag({ children, testId }: { children: ReactNode; testId?: string }) {
  return (
    <span
      data-testid={testId}
      className={`${BADGE} bg-black/60 font-semibold text-ink backdrop-blur-sm`}
    >
      {children}
    </span>
  );
}
