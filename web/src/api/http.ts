/** JSON over fetch against the gateway, with its RFC 9457 errors as exceptions. */

import { RateLimit, retryAfterMs } from "./rate-limit";

/** What the gateway says when it refuses; `code` is the stable part. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly requestId: string | undefined,
  ) {
    super(detail);
  }
}

/** The server counts this address' requests and has had too many; nothing is alarming about it. */
export class RateLimited extends ApiError {
  /** @param waitMs how long nothing is asked from now on */
  constructor(
    readonly waitMs: number,
    detail: string,
    requestId: string | undefined,
  ) {
    super(429, "rate_limited", detail, requestId);
  }
}

/** What this address was refused; kept by all that the server counts by address. */
export const addressLimit = new RateLimit();

/** Longest wait for an answer; past it the request counts as failed and is retried by the caller. */
const TIMEOUT_MS = 10_000;

/**
 * GETs `path` and returns its JSON.
 *
 * @throws {RateLimited} when too much was asked lately, without asking again before the time.
 * @throws {ApiError} on any answer but 2xx; network trouble and time-outs are thrown as fetch does.
 */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const waitMs = addressLimit.waitMs(performance.now());
  if (waitMs > 0) {
    throw new RateLimited(waitMs, "Too many requests; asked again in a while.", undefined);
  }
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(path, {
    headers: { accept: "application/json" },
    signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
  });
  if (response.status === 429) {
    throw await refusalOf(response);
  }
  addressLimit.answered();
  if (!response.ok) {
    throw await problemOf(response);
  }
  return (await response.json()) as T;
}

async function refusalOf(response: Response): Promise<RateLimited> {
  const asked = retryAfterMs(response.headers.get("retry-after"), Date.now());
  addressLimit.refused(performance.now(), asked, Math.random());
  const { message, requestId } = await problemOf(response);
  return new RateLimited(addressLimit.waitMs(performance.now()), message, requestId);
}

async function problemOf(response: Response): Promise<ApiError> {
  const problem = await response.json().catch(() => ({}));
  return new ApiError(
    response.status,
    typeof problem.code === "string" ? problem.code : "unknown",
    typeof problem.detail === "string" ? problem.detail : `The server answered ${response.status}.`,
    typeof problem.request_id === "string" ? problem.request_id : undefined,
  );
}
