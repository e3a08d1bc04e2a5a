import { useIsOnline } from '@/shared/network';
import { isOfNoNetwork, wordsOf } from '@/shared/words';
import { texts } from '@/texts';
import { Button } from './button';
import { Notice } from './notice';

/** What failed, in the words of whoever refused it, and a way to go on. */
export function ProblemNotice({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const isOnline = useIsOnline();
  if (!error || (isOnline && !onRetry && isOfNoNetwork(error))) return null;
  const action = onRetry && (
    <Button size="small" onClick={onRetry}>
      {texts.common.retry}
    </Button>
  );
  return (
    <Notice tone="bad" live action={action}>
      {wordsOf(error)}
    </Notice>
  );
}
