import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { start } from './servers.js';

export interface Database {
  url: string;
  /** Takes the whole server down. */
  stop: () => Promise<void>;
}

/** An empty database on a PostgreSQL of its own. */
export async function startDatabase(): Promise<Database> {
  const child = start('keyfold-test-postgres', [], { env: { PATH: process.env['PATH'] ?? '' } });
  const ended = once(child, 'exit');
  // What it logs; read, so that it never waits for a reader.
  child.stderr.resume();
  child.stdin.write('\n');
  const [url] = await Promise.race([
    once(createInterface(child.stdout), 'line'),
    ended.then(() => Promise.reject(new Error('PostgreSQL did not start'))),
  ]);
  const stop = async () => {
    child.stdin.end();
    await ended;
  };
  return { url: String(url), stop };
}
