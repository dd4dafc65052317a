import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { loadEnv } from "vite";
import { defineConfig } from "vitest/config";

// `npm run dev` talks to a running stack: MARQUEE_BASE_URL is its nginx (`base_url` of stack.json).
const { MARQUEE_BASE_URL: stack = "http://localhost:8000" } = loadEnv("", ".", "MARQUEE_");

export default defineConfig({
  plugins: [react(), tailwindcss()],
  server: {
    proxy: { "/api": stack, "/live-streams": stack, "/storage": stack, "/stream": stack },
  },
  build: {
    // The player is one lazy chunk by intent (Video.js core with hls.js light, 190 KB gzip).
    chunkSizeWarningLimit: 800,
  },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"], restoreMocks: true },
});
