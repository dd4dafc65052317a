/** JSON over fetch against the gateway, with its RFC 9457 errors as exceptions. */

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

/** Longest wait for an answer; past it the request counts as failed and is retried by the caller. */
const TIMEOUT_MS = 10_000;

/**
 * GETs `path` and returns its JSON.
 *
 * @throws {ApiError} on any answer but 2xx; network trouble and time-outs are thrown as fetch does.
 */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(path, {
    headers: { accept: "application/json" },
    signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
  });
  if (!response.ok) {
    throw await problemOf(response);
  }
  return (await response.json()) as T;
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
