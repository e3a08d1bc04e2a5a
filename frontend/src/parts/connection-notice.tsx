import { useQueryClient } from '@tanstack/react-query';
import { useHasExpired } from '@/session/client';
import { isOfLocalMode, useSession } from '@/session/session';
import { useIsOnline } from '@/shared/network';
import { Button } from '@/shared/ui/button';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';

/** What stops everything on the page: no network, or a session that ran out. What was typed stays. */
export function ConnectionNotice() {
  const isOnline = useIsOnline();
  const hasExpired = useHasExpired();
  const { kind, problem, signIn } = useSession();
  const queries = useQueryClient();
  if (!isOnline) {
    return (
      <div className="sticky top-2 z-10 mb-6 rounded-xl shadow-lg">
        <Notice tone="warn" live>
          {texts.common.offline}
        </Notice>
      </div>
    );
  }
  if (!hasExpired) return null;
  const { title, text, action } = isOfLocalMode(kind) ? texts.common.tokenNeeded : texts.common.expired;
  const signInAgain = async () => {
    await signIn(window.location.pathname);
    // The first answer shows that it worked.
    await queries.refetchQueries({ type: 'active' });
  };
  const again = (
    <Button size="small" onClick={signInAgain}>
      {action}
    </Button>
  );
  return (
    <div className="sticky top-2 z-10 mb-6 rounded-xl shadow-lg">
      <Notice tone="warn" live title={title} action={again}>
        {problem ?? text}
      </Notice>
    </div>
  );
}
