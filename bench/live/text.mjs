/** Figures as text. */

export const fixed = (value, digits = 2) => value.toFixed(digits);

export const percent = (ratio) => `${(ratio * 100).toFixed(1)} %`;

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const spread = (values, digits = 2) =>
  `${fixed(Math.min(...values), digits)} – ${fixed(Math.max(...values), digits)}`;

/** A table in Markdown; all columns but the first are figures. */
export function table(head, rows) {
  const rule = head.map((_, column) => (column ? "---:" : "---"));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
