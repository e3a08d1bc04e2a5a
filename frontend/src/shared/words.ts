import { KeyfoldError } from '@keyfold/client';
import { texts } from '@/texts';

/** Where the log has more to say, the id finds it there. */
const IN_LOG = ['internal_error', 'database_unavailable', 'audit_unavailable', 'master_key_unavailable'];

/** What an error says to the person in front of the page. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof KeyfoldError)) return texts.common.unreachable;
  // What the server says of it is for programs.
  if (error.code === 'unauthenticated') return texts.common.expired.text;
  if (error.code === 'unreachable') return navigator.onLine ? texts.common.unreachable : texts.common.offline;
  const isInLog = IN_LOG.includes(error.code) && error.requestId;
  return isInLog ? `${error.detail} (${texts.common.request(error.requestId ?? '')})` : error.detail;
}
