/**
 * A Vite plugin: beside each asset its gzip, made once. nginx sends it as it is
 * (`gzip_static`); to compress half a megabyte of code anew for each viewer takes longer than to send it.
 */

import type { Plugin } from "vite";

/** Fonts and pictures are compressed already. */
const COMPRESSIBLE = /\.(js|css|svg)$/;

export function precompress(): Plugin {
  return {
    name: "marquee-precompress",
    apply: "build",
    generateBundle: {
      order: "post",
      async handler(_options, bundle) {
        for (const output of Object.values(bundle)) {
          if (COMPRESSIBLE.test(output.fileName)) {
            const content = output.type === "chunk" ? output.code : output.source;
            const source = await gzipped(new Blob([content as BlobPart]));
            this.emitFile({ type: "asset", fileName: `${output.fileName}.gz`, source });
          }
        }
      },
    },
  };
}

async function gzipped(content: Blob): Promise<Uint8Array> {
  const stream = content.stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
