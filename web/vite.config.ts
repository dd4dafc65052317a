import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { loadEnv } from "vite";
import { defineConfig } from "vitest/config";
import { earlyLinks } from "./early-links.ts";
import { precompress } from "./precompress.ts";

// `npm run dev` talks to a running stack: MARQUEE_BASE_URL is its nginx (`base_url` of stack.json).
const { MARQUEE_BASE_URL: stack = "http://localhost:8000" } = loadEnv("", ".", "MARQUEE_");

export default defineConfig({
  plugins: [react(), tailwindcss(), earlyLinks(), precompress()],
  server: {
    proxy: { "/api": stack, "/live-streams": stack, "/storage": stack, "/stream": stack },
  },
  build: {
    // hls.js and Video.js come whole.
    chunkSizeWarningLimit: 400,
    rolldownOptions: {
      output: {
        // Few files: a browser asks an HTTP/1.1 server for six at once.
        codeSplitting: {
          groups: [
            {
              name: "first",
              test: /preload-helper|src.(api.(http|public-stream)|player.(early-screen|engine-state))\.ts/,
            },
          ],
        },
      },
    },
  },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"], restoreMocks: true },
});
