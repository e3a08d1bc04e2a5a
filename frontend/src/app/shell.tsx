import { Activity, CircleUser, KeyRound, ListChecks, Sparkles } from 'lucide-react';
import { lazy, type ReactNode, Suspense, useEffect, useRef } from 'react';
import { useCopilotKitKey } from '@/features/assistant/use-copilotkit-key';
import { ConnectionNotice } from '@/parts/connection-notice';
import { KeyAlerts } from '@/parts/key-alerts';
import { useConfig } from '@/session/config-context';
import { useSession } from '@/session/session';
import { Link, usePath } from '@/shared/navigation';
import { Badge } from '@/shared/ui/badge';
import { Boundary } from '@/shared/ui/boundary';
import { texts } from '@/texts';
import { ThemeChoice } from './theme-choice';
import { UserMenu } from './user-menu';

const Assistant = lazy(() =>
  import('@/features/assistant/assistant').then((module) => ({ default: module.Assistant })),
);

const NAV = [
  { to: '/onboarding', label: texts.common.nav.onboarding, icon: ListChecks },
  { to: '/keys', label: texts.common.nav.keys, icon: KeyRound },
  { to: '/try', label: texts.common.nav.tryIt, icon: Sparkles },
  { to: '/activity', label: texts.common.nav.activity, icon: Activity },
  { to: '/account', label: texts.common.nav.account, icon: CircleUser },
] as const;

/** What stands around every view: the way to the others, who is here, and what nobody may miss. */
export function Shell({ children }: { children: ReactNode }) {
  const { user } = useSession();
  const main = useFocusAfterNavigation();
  return (
    <div className="flex min-h-dvh flex-col">
      <a
        href="#main"
        className="sr-only rounded-lg bg-brand px-4 py-2 text-on-brand focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:z-20"
      >
        {texts.common.skip}
      </a>
      <header className="border-line border-b bg-surface">
        <div className="mx-auto flex h-14 max-w-5xl items-center gap-3 px-4">
          <Brand />
          {user && <TopNav />}
          <div className="ml-auto flex items-center gap-1">
            <ThemeChoice />
            <UserMenu />
          </div>
        </div>
      </header>
      <main
        id="main"
        ref={main}
        tabIndex={-1}
        className="mx-auto w-full max-w-5xl flex-1 px-4 pt-6 pb-28 outline-none sm:pt-10 md:pb-16"
      >
        <ConnectionNotice />
        {user && <KeyAlerts />}
        {children}
      </main>
      {user && <BottomNav />}
      <AssistantOfUser />
    </div>
  );
}

/** For who has a key for it; over the page, so that nothing moves when it comes. */
function AssistantOfUser() {
  const { user } = useSession();
  const key = useCopilotKitKey(user?.id ?? '');
  if (!user || key === null) return null;
  return (
    <Boundary failed={null}>
      <Suspense>
        <Assistant publicKey={key} />
      </Suspense>
    </Boundary>
  );
}

function Brand() {
  const { mode } = useConfig();
  return (
    <div className="flex items-center gap-2">
      <Link to="/" className="flex items-center gap-2 rounded font-semibold">
        <img src="/favicon.svg" alt="" className="size-7" width={28} height={28} />
        {texts.common.product}
      </Link>
      {mode === 'local' && <Badge tone="brand">{texts.common.mode.local}</Badge>}
    </div>
  );
}

function TopNav() {
  return (
    <nav aria-label={texts.common.pages} className="ml-4 hidden md:block">
      <ul className="flex gap-1">
        {NAV.map(({ to, label }) => (
          <li key={to}>
            <Link
              to={to}
              className="rounded-lg px-3 py-2 font-medium text-ink-soft text-sm transition-colors hover:bg-sunken hover:text-ink aria-[current=page]:bg-brand-soft aria-[current=page]:text-brand-strong"
            >
              {label}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function BottomNav() {
  return (
    <nav
      aria-label={texts.common.pages}
      className="fixed inset-x-0 bottom-0 z-10 border-line border-t bg-surface pb-[env(safe-area-inset-bottom)] md:hidden"
    >
      <ul className="mx-auto flex max-w-lg">
        {NAV.map(({ to, label, icon: Icon }) => (
          <li key={to} className="flex-1">
            <Link
              to={to}
              className="flex flex-col items-center gap-0.5 py-2 text-ink-soft text-xs aria-[current=page]:text-brand-strong aria-[current=page]:font-semibold"
            >
              <Icon aria-hidden="true" className="size-5" />
              {label}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** A new view is read from its beginning, also by those who hear it. */
function useFocusAfterNavigation() {
  const main = useRef<HTMLElement>(null);
  const pathname = usePath();
  const before = useRef(pathname);
  useEffect(() => {
    if (before.current === pathname) return;
    before.current = pathname;
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [pathname]);
  return main;
}
