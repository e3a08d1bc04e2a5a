import { useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useEffect, useRef, useState } from 'react';
import { useKept } from '@/session/client';
import { forgetCopilotKitKey } from '@/session/copilotkit-key';
import { isOfLocalMode, useSession } from '@/session/session';
import { Link } from '@/shared/navigation';
import { Boundary } from '@/shared/ui/boundary';
import { Button, buttonLook } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';

const DeleteDialog = lazy(() =>
  import('./delete-dialog').then((module) => ({ default: module.DeleteDialog })),
);

export function DeleteCard() {
  const words = texts.account.remove;
  const { kind } = useSession();
  const [isAsking, setAsking] = useState(false);
  const [isDeleted, setDeleted] = useState(false);
  const leave = useLeaving();
  const card = useRef<HTMLElement>(null);
  // The button that was pressed is gone.
  useEffect(() => {
    if (isDeleted) card.current?.focus();
  }, [isDeleted]);
  const isLocal = isOfLocalMode(kind);
  const deleted = async () => {
    setAsking(false);
    setDeleted(true);
    await leave(isLocal);
  };
  return (
    <Card ref={card} tabIndex={-1} aria-labelledby="delete-title" className="space-y-3 outline-none">
      <h2 id="delete-title" className="font-semibold text-lg">
        {words.title}
      </h2>
      <p className="text-ink-soft text-sm">{words.text}</p>
      {isDeleted ? (
        <Notice
          tone="good"
          live
          title={words.doneTitle}
          action={
            isLocal && (
              <Link to="/onboarding" className={buttonLook('plain', 'small')}>
                {words.again}
              </Link>
            )
          }
        >
          {isLocal ? words.doneText : words.signedOut}
        </Notice>
      ) : (
        <Button kind="danger" onClick={() => setAsking(true)}>
          {words.action}
        </Button>
      )}
      {isAsking && (
        <Boundary failed={<Notice tone="warn">{texts.common.crash.part}</Notice>}>
          <Suspense>
            <DeleteDialog isLocal={isLocal} onClose={() => setAsking(false)} onDeleted={deleted} />
          </Suspense>
        </Boundary>
      )}
    </Card>
  );
}

/** Nothing of the user stays in the page or the browser. */
function useLeaving() {
  const queries = useQueryClient();
  const kept = useKept();
  const { signOut } = useSession();
  return async (isLocal: boolean) => {
    forgetCopilotKitKey();
    kept.clear();
    // Local mode has nobody else to show: its views ask anew.
    if (isLocal) return await queries.resetQueries();
    queries.clear();
    await signOut();
  };
}
