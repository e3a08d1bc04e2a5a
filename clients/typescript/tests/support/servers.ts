// The real programs: `keyfold`, and `keyfold-standin`, which plays the providers and a token issuer.
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const programs =
  process.env['KEYFOLD_PROGRAMS'] ?? fileURLToPath(new URL('../../../../target/debug', import.meta.url));

export interface Standin {
  url: string;
  /** For Keyfold: where the providers are. */
  providers: Record<string, string>;
  /** For Keyfold: who issues tokens. */
  issuer: Record<string, string>;
  /** Test data that the stand-in takes for a key of the provider. */
  keys: Record<string, string>;
  /** A fresh token of the issuer. */
  token: (user: string) => Promise<string>;
  stop: () => Promise<void>;
}

export interface Keyfold {
  url: string;
  folder: string;
  /** What it logged so far. */
  log: () => string;
  /** At once, as a crash would. */
  stop: () => Promise<void>;
}

export async function startStandin(...options: string[]): Promise<Standin> {
  const child = start(
    'keyfold-standin',
    ['--listen', '127.0.0.1:0', '--issuer', '127.0.0.1:0', ...options],
    {},
  );
  const providers: Record<string, string> = {};
  const issuer: Record<string, string> = {};
  const keys: Record<string, string> = {};
  await lines(child, child.stdout, (line) => {
    const setting = /^([A-Z_0-9]+)=(.*)$/.exec(line);
    const [, name = '', value = ''] = setting ?? [];
    if (name.startsWith('KEYFOLD_PROVIDER_')) providers[name] = value;
    else if (name !== '') issuer[name] = value;
    const [, provider = '', key = ''] = /^# (\w+): (\S+)$/.exec(line) ?? [];
    if (provider !== '') keys[provider] = key;
    return provider === 'user_a';
  });
  const token = async (user: string) =>
    (await (await fetch(`${issuer['KEYFOLD_AUTH_ISSUER']}/token/${user}`)).text()).trim();
  const url = new URL(providers['KEYFOLD_PROVIDER_GEMINI_BASE_URL'] ?? '').origin;
  return { url, providers, issuer, keys, token, stop: () => stopped(child) };
}

/** Local mode in a folder of its own, unless the variables say otherwise. */
export async function startKeyfold(variables: Record<string, string>): Promise<Keyfold> {
  const folder = await mkdtemp(join(tmpdir(), 'keyfold-client-'));
  await mkdir(join(folder, 'frontend'));
  const child = start('keyfold', ['serve'], {
    cwd: folder,
    env: { DEBUG: 'true', PORT: '0', KEYFOLD_METRICS_ADDR: 'off', HOME: folder, ...variables },
  });
  let log = '';
  let url = '';
  await lines(child, child.stderr, (line) => {
    log += `${line}\n`;
    url ||= /ready at ([^\s"]+)/.exec(line)?.[1] ?? '';
    return url !== '';
  });
  const stop = async () => {
    await stopped(child);
    await rm(folder, { recursive: true, force: true });
  };
  return { url, folder, log: () => log, stop };
}

/** Ends with the test run at the latest. */
export function start(
  program: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> },
): ChildProcessWithoutNullStreams {
  const path = join(programs, program);
  if (!existsSync(path)) throw new Error(`${path} is missing: build it with \`make test-typescript\``);
  const child = spawn(path, args, { env: {}, ...options, stdio: ['pipe', 'pipe', 'pipe'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  return child;
}

/** Resolves when `look` answers true; goes on reading, so that the program never waits for a reader. */
function lines(child: ChildProcess, from: Readable, look: (line: string) => boolean): Promise<void> {
  const said: string[] = [];
  const others = [child.stdout, child.stderr].filter((stream) => stream !== null && stream !== from);
  for (const other of others) other?.on('data', (text) => said.push(String(text)));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => reject(new Error(`it ended (${status}):\n${said.join('\n')}`)));
    createInterface(from).on('line', (line) => {
      said.push(line);
      if (look(line)) resolve();
    });
  });
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
