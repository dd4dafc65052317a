/** Refuses to start the project where its containers' names or its ports belong to somebody else. */

import dgram from "node:dgram";
import net from "node:net";
import { docker } from "../lib/docker.mjs";
import { project } from "./project.mjs";

const own = project();

/** Names are the engine's, not the project's, where the compose file fixes them. */
async function takenNames(services) {
  const taken = [];
  for (const { container_name: name } of services.filter((service) => service.container_name)) {
    const format = '{{.ID}} {{.Label "com.docker.compose.project"}}';
    const found = await docker("ps", "--all", "--filter", `name=^/${name}$`, "--format", format);
    const [id, owner] = found.trim().split(" ");
    if (id && owner !== own.name) {
      taken.push(
        owner
          ? `container ${name} belongs to the compose project ${owner}: \`docker compose -p ${owner} down\` removes it`
          : `container ${name} belongs to somebody else: \`docker rm -f ${name}\` removes it`,
      );
    }
  }
  return taken;
}

function free({ protocol, host_ip: host = "0.0.0.0", published }) {
  return new Promise((resolve) => {
    if (protocol === "udp") {
      const socket = dgram.createSocket("udp4");
      socket.once("error", () => resolve(false));
      socket.bind(Number(published), host, () => socket.close(() => resolve(true)));
    } else {
      const server = net.createServer();
      server.once("error", () => resolve(false));
      server.listen(Number(published), host, () => server.close(() => resolve(true)));
    }
  });
}

async function takenPorts(services) {
  const taken = [];
  for (const port of services.flatMap(({ ports = [] }) => ports)) {
    if (!(await free(port))) {
      taken.push(`port ${port.published}/${port.protocol} is in use, or not for this user to open`);
    }
  }
  return taken;
}

const services = Object.values((await own.config()).services);
const taken = [...(await takenNames(services)), ...(await takenPorts(services))];
for (const line of taken) {
  console.error(`e2e-compose: ${line}`);
}
process.exitCode = taken.length > 0 ? 1 : 0;
