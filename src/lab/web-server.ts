/** Renders the configuration of a backend's web server, nginx. Pure. */
import type { LabMachine } from './topology.ts';

/**
 * Answers every path with one line: backend, site and the address that the request came to. One process, so that killing it
 * leaves nothing behind; connections are kept as long as clients want. nginx writes `ready` into `folder` once it listens.
 */
export function renderNginxConfig(machine: LabMachine, folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `  ${kind}_temp_path ${folder}/${kind};\n`)
    .join('');
  return `daemon off;
master_process off;
user root;
pid ${folder}/ready;
error_log ${folder}/error.log warn;
events {
  worker_connections 8192;
}
http {
${temporary}  access_log off;
  default_type text/plain;
  keepalive_timeout 24h;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  server {
    listen 80 backlog=4096;
    listen [::]:80 backlog=4096 ipv6only=on;
    add_header X-Backend ${machine.name} always;
    add_header X-Site ${machine.site} always;
    location = /healthz {
      return 200 "ok\\n";
    }
    location / {
      return 200 "${machine.name} ${machine.site} $server_addr\\n";
    }
  }
}
`;
}
