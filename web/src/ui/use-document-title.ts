import { useEffect } from "react";

/** Names the tab. */
export function useDocumentTitle(title: string | null): void {
  useEffect(() => {
    document.title = title ? `${title} · Marquee` : "Marquee";
  }, [title]);
}
