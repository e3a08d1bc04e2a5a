import { KeyfoldError } from '@keyfold/client';
import { texts } from '@/texts';
import { isOnline } from './network';

/** Where the log has more to say, the id finds it there. */
const IN_LOG = ['internal_error', 'database_unavailable', 'audit_unavailable', 'master_key_unavailable'];

/** Errors that came of there being no network, as far as it was looked at them. */
const offline = new WeakSet<KeyfoldError>();

/** What an error says to the person in front of the page. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof KeyfoldError)) return texts.common.unreachable;
  // What the server says of it is for programs. How to go on depends on how people sign in, which is said at the top.
  if (error.code === 'unauthenticated') return texts.common.notLetIn;
  if (error.code === 'unreachable')
    return isOfNoNetwork(error) ? wordsOfNoNetwork() : texts.common.unreachable;
  const isInLog = IN_LOG.includes(error.code) && error.requestId;
  return isInLog ? `${error.detail} (${texts.common.request(error.requestId ?? '')})` : error.detail;
}

/** Whether it came of there being no network, and says nothing any more once there is one. */
export function isOfNoNetwork(error: unknown): boolean {
  if (!(error instanceof KeyfoldError) || error.code !== 'unreachable') return false;
  if (!isOnline()) offline.add(error);
  return offline.has(error);
}

function wordsOfNoNetwork(): string {
  return isOnline() ? texts.common.backOnline : texts.common.offline;
}
