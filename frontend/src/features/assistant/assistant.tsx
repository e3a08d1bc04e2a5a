import { MessageCircle, X } from 'lucide-react';
import { lazy, type ReactNode, Suspense, useRef, useState } from 'react';
import { Boundary } from '@/shared/ui/boundary';
import { Button } from '@/shared/ui/button';
import { Notice } from '@/shared/ui/notice';
import { Spinner } from '@/shared/ui/spinner';
import { texts } from '@/texts';

/** Offers CopilotKit's assistant with the user's own key. */
export function Assistant({ publicKey: key }: { publicKey: string }) {
  const [isOpen, setOpen] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    opener.current?.focus();
  };
  return (
    <>
      <button
        ref={opener}
        type="button"
        aria-expanded={isOpen}
        aria-label={texts.assistant.open}
        title={texts.assistant.open}
        onClick={() => setOpen(true)}
        className="fixed right-4 bottom-20 z-10 grid size-12 place-items-center rounded-full bg-brand text-on-brand shadow-lg transition-colors hover:bg-brand-strong md:bottom-6"
      >
        <MessageCircle aria-hidden="true" className="size-6" />
      </button>
      {isOpen && (
        <Panel onClose={close}>
          {/* Another key is another conversation. */}
          <Boundary key={key} failed={(again) => <NotLoaded onRetry={again} />}>
            <LoadedChat publicKey={key} />
          </Boundary>
        </Panel>
      )}
    </>
  );
}

function Panel({ onClose, children }: { onClose: () => void; children: ReactNode }) {
  const { title, lead, close } = texts.assistant;
  return (
    <aside
      aria-label={title}
      onKeyDown={(event) => {
        if (event.key === 'Escape') onClose();
      }}
      className="fixed inset-0 z-20 flex flex-col border-line bg-surface sm:inset-y-0 sm:right-0 sm:left-auto sm:w-96 sm:border-l sm:shadow-xl"
    >
      <div className="flex items-start gap-3 border-line border-b p-4">
        <div className="flex-1">
          <h2 className="font-semibold">{title}</h2>
          <p className="text-ink-soft text-sm">{lead}</p>
        </div>
        <Button kind="quiet" size="small" aria-label={close} onClick={onClose} autoFocus>
          <X aria-hidden="true" className="size-5" />
        </Button>
      </div>
      <div className="min-h-0 flex-1">{children}</div>
    </aside>
  );
}

function Loading() {
  return (
    <p role="status" className="flex items-center gap-2 p-4 text-ink-soft text-sm">
      <Spinner />
      {texts.assistant.loading}
    </p>
  );
}

/**
 * Nothing of CopilotKit is loaded, and nothing asked of its cloud, before somebody opens it. Asked for anew each time:
 * what could not be loaded once may come the next time.
 */
function LoadedChat({ publicKey }: { publicKey: string }) {
  const [Chat] = useState(() => lazy(() => import('./chat').then((module) => ({ default: module.Chat }))));
  return (
    <Suspense fallback={<Loading />}>
      <Chat publicKey={publicKey} />
    </Suspense>
  );
}

function NotLoaded({ onRetry }: { onRetry: () => void }) {
  const again = (
    <Button size="small" onClick={onRetry}>
      {texts.assistant.retry}
    </Button>
  );
  return (
    <div className="p-4">
      <Notice tone="bad" live action={again}>
        {texts.assistant.notLoaded}
      </Notice>
    </div>
  );
}
