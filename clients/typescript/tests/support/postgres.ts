import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

/** Stops the server and removes its files when its standard input closes, with the test run at the latest. */
const SCRIPT = `
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
PATH="$bin:$PATH"
folder=$(mktemp -d)
as_owner=
if [ "$(id -u)" -eq 0 ]; then
    # PostgreSQL refuses to run as root.
    chown postgres "$folder"
    as_owner="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
cd "$folder"
$as_owner initdb -D data -U keyfold -A trust -E UTF8 --locale=C.UTF-8 --no-sync >&2
$as_owner pg_ctl -D data -l log -w -o \\
    "-c listen_addresses=127.0.0.1 -p $SERVER_PORT -c unix_socket_directories= -c fsync=off" start >&2
echo ready
cat >/dev/null
$as_owner pg_ctl -D data -m immediate stop >&2 || true
rm -rf "$folder"
`;

export interface Postgres {
  /** Of an empty database. */
  url: string;
  stop: () => Promise<void>;
}

export async function startPostgres(): Promise<Postgres> {
  const port = await freePort();
  const script = spawn('sh', ['-c', SCRIPT], {
    env: { PATH: process.env['PATH'] ?? '', SERVER_PORT: String(port) },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  script.stderr.on('data', (text) => {
    said += String(text);
  });
  const ended = once(script, 'exit');
  await Promise.race([
    once(createInterface(script.stdout), 'line'),
    ended.then(() => Promise.reject(new Error(`PostgreSQL did not start:\n${said}`))),
  ]);
  const stop = async () => {
    script.stdin.end();
    await ended;
  };
  return { url: `postgres://keyfold@127.0.0.1:${port}/postgres`, stop };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
