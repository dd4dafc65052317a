/** A reporter of node's test runner that writes a JSON line a test, for a summary at the end of a long run. */

export default async function* results(source) {
  for await (const { type, data } of source) {
    if (type === "test:diagnostic") {
      yield `${JSON.stringify({ diagnostic: data.message })}\n`;
    } else if (type === "test:pass" || type === "test:fail") {
      const line = {
        file: data.file,
        name: data.name,
        nesting: data.nesting,
        suite: data.details.type === "suite",
        passed: type === "test:pass",
        // `true` or the reason.
        skipped: data.skip ?? false,
        ms: Math.round(data.details.duration_ms),
      };
      yield `${JSON.stringify(line)}\n`;
    }
  }
}
