/** What the pages ask the stream service, and how often. */

import { queryOptions } from "@tanstack/react-query";
import { ApiError, getJson, RateLimited } from "./http";
import { getStreamOnce, type PublicStream } from "./public-stream";

interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

const POLL_MS = 5_000;
const POLL_SLOWEST_MS = 60_000;

/** What a query remembers that matters for when to ask again. */
export interface PollState {
  error: Error | null;
  /** Unix ms of the last answer, 0 if there was none. */
  dataUpdatedAt: number;
  /** Unix ms of the last failure. */
  errorUpdatedAt: number;
  errorUpdateCount: number;
}

/**
 * Time until the next question: steady while it works. While it fails, as long as it has failed
 * already, so that waits double and a service that comes back is not met by every page at once. One
 * that counts requests says itself when.
 */
export function pollDelay(state: PollState): number {
  if (state.error === null) {
    return POLL_MS;
  }
  if (state.error instanceof RateLimited) {
    return Math.max(state.error.waitMs, POLL_MS);
  }
  const failing =
    state.dataUpdatedAt > 0
      ? state.errorUpdatedAt - state.dataUpdatedAt
      : POLL_MS * 2 ** Math.min(state.errorUpdateCount - 1, 10);
  return Math.min(Math.max(failing, POLL_MS), POLL_SLOWEST_MS);
}

const polled = {
  refetchInterval: (query: { state: PollState }) => pollDelay(query.state),
  retry: (failures: number, error: Error) => failures < 1 && !(error instanceof ApiError),
} as const;

/** What is live now. */
export const liveStreams = queryOptions({
  ...polled,
  queryKey: ["streams", "live"],
  queryFn: async ({ signal }) => {
    const page = await getJson<Page<PublicStream>>("/api/streams/public?live=true", signal);
    return page.items;
  },
});

/** One stream's public view. */
export const streamById = (id: string) =>
  queryOptions({
    ...polled,
    queryKey: ["streams", "one", id],
    // What was asked for on the way to the page is not asked for again there.
    staleTime: 1_000,
    queryFn: ({ signal }) => getStreamOnce(id, signal),
  });

/** The error if it is worth telling: being asked to wait is not, for the answer comes by itself. */
export function worthTelling(error: Error | null): Error | null {
  return error instanceof RateLimited ? null : error;
}

/** Whether an error means that there is no such stream, rather than that we could not ask. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 404 || error.status === 410);
}
