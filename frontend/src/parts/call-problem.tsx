import { KeyfoldError } from '@keyfold/client';
import type { ReactNode } from 'react';
import { Link } from '@/shared/navigation';
import { useIsOnline } from '@/shared/network';
import { Button } from '@/shared/ui/button';
import { Notice } from '@/shared/ui/notice';
import { wordsOf } from '@/shared/words';
import { texts } from '@/texts';

const FAULTS_OF_KEYS = ['no_api_key', 'key_rejected', 'key_unreadable'];

type Props = {
  error: unknown;
  /** Whose key was used, if the problem does not say. */
  provider: string;
  title?: ReactNode;
  onRetry?: (() => void) | undefined;
};

/** Why a call with a key failed, and the way to the key if that is at fault. */
export function CallProblem({ error, provider, title, onRetry }: Props) {
  // Its words are others once there is a network again.
  useIsOnline();
  const isOfKey = error instanceof KeyfoldError && FAULTS_OF_KEYS.includes(error.code);
  const named = error instanceof KeyfoldError ? error.members.provider : undefined;
  const retry = onRetry && !isOfKey && (
    <Button size="small" onClick={onRetry}>
      {texts.common.retry}
    </Button>
  );
  return (
    <Notice tone="bad" live title={title} action={retry}>
      {wordsOf(error)}
      {isOfKey && (
        <>
          {' '}
          <Link
            to="/keys/$provider"
            params={{ provider: typeof named === 'string' ? named : provider }}
            className="font-medium underline underline-offset-2"
          >
            {texts.results.toKey}
          </Link>
        </>
      )}
    </Notice>
  );
}
