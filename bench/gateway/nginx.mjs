/**
 * nginx in the gateway's place, as a yardstick: what any hop costs on this machine. It passes requests
 * on and writes an access log; it knows no routes, limits or headers.
 */

import { mkdir, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { start } from "../../e2e/lib/process.mjs";
import { until } from "../../e2e/lib/wait.mjs";
import { childrenOf, cpuOf } from "../live/processes.mjs";
import { repository } from "../results.mjs";

const dir = path.join(repository, ".local/bench/nginx-hop");

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const configuration = ({ port, upstream, workers }) => `
worker_processes ${workers};
daemon off;
pid ${dir}/pid;
events { worker_connections 1024; }
http {
    log_format line escape=json '{"time":"$time_iso8601","method":"$request_method","path":"$uri",'
        '"status":$status,"duration":$request_time,"bytes":$bytes_sent,"peer":"$remote_addr:$remote_port",'
        '"request_id":"$request_id"}';
    access_log ${dir}/access.log line buffer=64k flush=1s;
    client_body_temp_path ${dir}/body;
    proxy_temp_path ${dir}/proxy;
    fastcgi_temp_path ${dir}/fastcgi;
    uwsgi_temp_path ${dir}/uwsgi;
    scgi_temp_path ${dir}/scgi;
    keepalive_requests 1000000;
    upstream service {
        server ${upstream};
        keepalive 256;
        keepalive_requests 1000000;
    }
    server {
        listen 127.0.0.1:${port};
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_pass http://service;
        }
    }
}
`;

/**
 * Runs `work` with an nginx, as its `url` and `cpuS()`, the CPU seconds that it has taken. It passes everything
 * on to `upstream`, with so many workers on the given cores (as taskset names them).
 */
export async function throughNginx({ upstream, cores, workers }, work) {
  await mkdir(dir, { recursive: true });
  const port = await freePort();
  const file = path.join(dir, "nginx.conf");
  await writeFile(file, configuration({ port, upstream: new URL(upstream).host, workers }));
  const nginx = start("taskset", [
    ...["-c", cores, "nginx", "-e", path.join(dir, "error.log"), "-p", dir, "-c", file],
  ]);
  try {
    const url = `http://127.0.0.1:${port}`;
    await until("nginx answers", 10_000, () => fetch(`${url}/health`).catch(() => null));
    const cpuS = async () => {
      const workers = await childrenOf(nginx.child.pid);
      const costs = await Promise.all(workers.map(({ pid }) => cpuOf(pid)));
      return costs.reduce((sum, { own }) => sum + own, 0);
    };
    return await work({ url, cpuS });
  } finally {
    nginx.child.kill("SIGTERM");
    await nginx.exited;
  }
}
