/** The page: client routes, one query cache, strict mode. */

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RouterProvider } from "react-router/dom";
import { createRouter } from "./routes";

export function showPage(root: HTMLElement): void {
  const queries = new QueryClient();
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <RouterProvider router={createRouter(queries)} />
      </QueryClientProvider>
    </StrictMode>,
  );
}
