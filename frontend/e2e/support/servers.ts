// The real program with the real page, and everything around it.
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  type Keyfold,
  type Standin,
  startKeyfold,
  startStandin,
} from '../../../clients/typescript/tests/support/servers.js';
import { AUDIENCE, CLIENT_ID, type IssuerOptions, type OpenIdProvider, startIssuer } from './issuer';

export { type Keyfold, type Standin, startKeyfold, startStandin };

const programs =
  process.env.KEYFOLD_PROGRAMS ?? fileURLToPath(new URL('../../../target/debug', import.meta.url));

export interface Production {
  keyfold: Keyfold;
  issuer: OpenIdProvider;
  standin: Standin;
  /** The address of its database. */
  database: string;
  /** Runs the operator's command. */
  operate: (...args: string[]) => Promise<void>;
  stop: () => Promise<void>;
}

interface Places {
  port?: number;
  /** Where the page is, if it is not Keyfold's own. */
  page?: string;
  issuer?: IssuerOptions;
}

/** Production with PostgreSQL and sign-in through an OpenID provider. */
export async function startProduction(standin: Standin, places?: Places): Promise<Production> {
  const port = places?.port ?? (await freePort());
  const own = `http://127.0.0.1:${port}`;
  const [issuer, database] = await Promise.all([
    startIssuer(places?.page ?? own, places?.issuer),
    startDatabase(),
  ]);
  const variables = {
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
    KEYFOLD_PUBLIC_URL: own,
    ...(places?.page ? { KEYFOLD_ALLOWED_ORIGINS: places.page } : {}),
  };
  const keyfold = await startKeyfold(variables);
  const operate = async (...args: string[]) => {
    await promisify(execFile)(`${programs}/keyfold`, args, { env: variables, cwd: keyfold.folder });
  };
  const stop = async () => {
    await keyfold.stop();
    await Promise.all([issuer.stop(), database.stop()]);
  };
  return { keyfold, issuer, standin, database: database.url, operate, stop };
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

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}

/** What PostgreSQL's own client says of a statement. */
export async function inDatabase(address: string, statement: string): Promise<string> {
  const { stdout } = await promisify(execFile)('psql', ['--no-psqlrc', '-c', statement, address]);
  return stdout.trim();
}
