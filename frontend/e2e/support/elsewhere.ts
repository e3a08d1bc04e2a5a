// The page built to be served elsewhere, and a server that does what `vercel.json` says.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const FRONTEND = fileURLToPath(new URL('../..', import.meta.url));
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

export interface Elsewhere {
  url: string;
  /** Writes addresses into the policy, as docs/deployment.md says. */
  allow: (...addresses: string[]) => void;
  /** Builds the page for a Keyfold at this address. */
  build: (keyfold: string) => Promise<void>;
  stop: () => Promise<void>;
}

export async function startElsewhere(): Promise<Elsewhere> {
  const folder = await mkdtemp(join(tmpdir(), 'keyfold-page-'));
  const { headers, rewrites }: Vercel = JSON.parse(await readFile(join(FRONTEND, 'vercel.json'), 'utf8'));
  let allowed = '';
  const server = createServer(async ({ url = '/' }, response) => {
    const { pathname } = new URL(url, 'http://page');
    for (const { source, headers: set } of headers) {
      if (!matches(source, pathname)) continue;
      for (const { key, value } of set) response.setHeader(key, value.replaceAll(' https:;', `${allowed};`));
    }
    const rewritten = rewrites.find(({ source }) => matches(source, pathname))?.destination ?? pathname;
    // Files come before what is rewritten.
    const found = (await read(folder, pathname)) ?? (await read(folder, rewritten));
    response.setHeader('content-type', TYPES[extname(found?.path ?? '')] ?? 'application/octet-stream');
    response.writeHead(found ? 200 : 404).end(found?.content);
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    allow: (...addresses) => {
      allowed = ` ${addresses.join(' ')}`;
    },
    build: async (keyfold) => {
      const env = { ...process.env, REACT_APP_API_URL: keyfold };
      const vite = join(FRONTEND, 'node_modules/.bin/vite');
      await promisify(execFile)(vite, ['build', '--outDir', folder, '--emptyOutDir'], { cwd: FRONTEND, env });
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

interface Vercel {
  headers: { source: string; headers: { key: string; value: string }[] }[];
  rewrites: { source: string; destination: string }[];
}

function matches(source: string, path: string): boolean {
  return new RegExp(`^${source}$`).test(path);
}

async function read(folder: string, name: string) {
  const path = join(folder, name);
  if (!path.startsWith(folder) || name === '/') return null;
  const content = await readFile(path).catch(() => null);
  return content && { path, content };
}
