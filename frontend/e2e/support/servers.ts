// The real program with the real page, and everything around it.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  type Keyfold,
  type Standin,
  startKeyfold,
  startStandin,
} from '../../../clients/typescript/tests/support/servers.js';
import { AUDIENCE, CLIENT_ID, type OpenIdProvider, startIssuer } from './issuer';

export { type Keyfold, type Standin, startKeyfold, startStandin };

const programs =
  process.env.KEYFOLD_PROGRAMS ?? fileURLToPath(new URL('../../../target/debug', import.meta.url));

export interface Production {
  keyfold: Keyfold;
  issuer: OpenIdProvider;
  standin: Standin;
  stop: () => Promise<void>;
}

/** Production with PostgreSQL and sign-in through an OpenID provider. */
export async function startProduction(variables: Record<string, string> = {}): Promise<Production> {
  const port = await freePort();
  const page = `http://127.0.0.1:${port}`;
  const [standin, issuer, database] = await Promise.all([startStandin(), startIssuer(page), startDatabase()]);
  const keyfold = await startKeyfold({
    ...standin.providers,
    DEBUG: 'false',
    DEPLOY_ENV: 'render',
    HOST: '127.0.0.1',
    PORT: String(port),
    DATABASE_URL: database.url,
    KEYFOLD_MASTER_KEY: randomBytes(32).toString('base64'),
    KEYFOLD_AUTH_ISSUER: issuer.url,
    KEYFOLD_AUTH_AUDIENCE: AUDIENCE,
    KEYFOLD_AUTH_CLIENT_ID: CLIENT_ID,
    KEYFOLD_PUBLIC_URL: page,
    ...variables,
  });
  const stop = async () => {
    await keyfold.stop();
    await Promise.all([standin.stop(), issuer.stop(), database.stop()]);
  };
  return { keyfold, issuer, standin, stop };
}

async function startDatabase(): Promise<{ url: string; stop: () => Promise<void> }> {
  const child = spawn(`${programs}/keyfold-test-postgres`, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.write('\n');
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string];
  const stop = async () => {
    const ended = once(child, 'exit');
    child.stdin.end();
    await ended;
  };
  return { url, stop };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}
