import { ClerkFailed, ClerkLoading, ClerkProvider, SignIn, useAuth, useClerk, useUser } from '@clerk/react';
import { type ReactNode, useEffect, useMemo, useState } from 'react';
import { navigate } from 'wouter/use-browser-location';
import { Button } from '@/shared/ui/button';
import { Empty } from '@/shared/ui/empty';
import { texts } from '@/texts';
import { leaveBrowser, onSignOutElsewhere } from './leaving';
import { ownPath, type Session, SessionProvider, type SignedIn } from './session';

type Props = { publishableKey: string; waiting: ReactNode; children: ReactNode };

/** Sign-in with Clerk's own components. */
export function ClerkSession({ publishableKey, waiting, children }: Props) {
  return (
    <ClerkProvider
      publishableKey={publishableKey}
      afterSignOutUrl="/sign-in"
      allowedRedirectOrigins={[window.location.origin]}
      // Without loading the page anew: what was typed stays.
      routerPush={(to) => navigate(to)}
      routerReplace={(to) => navigate(to, { replace: true })}
    >
      <ClerkFailed>
        <NotLoaded />
      </ClerkFailed>
      <WithClerk waiting={waiting}>{children}</WithClerk>
    </ClerkProvider>
  );
}

function WithClerk({ waiting, children }: { waiting: ReactNode; children: ReactNode }) {
  // Who still has to do something for Clerk (a session that is pending) is not signed in, as the server sees it too.
  const { isLoaded, userId, getToken } = useAuth();
  const { user: clerkUser } = useUser();
  const clerk = useClerk();
  const [user, setUser] = useState<SignedIn | null>(null);
  const id = userId ?? null;
  const name = clerkUser?.fullName ?? null;
  const email = clerkUser?.primaryEmailAddress?.emailAddress ?? null;
  useEffect(() => {
    // A session that ran out leaves the person on the page, with what they typed.
    if (id !== null) setUser({ id, name, email });
  }, [id, name, email]);
  useEffect(() => onSignOutElsewhere(() => setUser(null)), []);
  const session = useMemo<Session>(() => {
    /** What is still on its way when another one signs in never goes out in that one's name. */
    const theirs = async (options?: { skipCache: boolean }) =>
      user !== null && clerk.user?.id === user.id ? getToken(options) : null;
    return {
      kind: 'clerk',
      user,
      problem: null,
      form: <SignInForm />,
      token: () => theirs(),
      renew: async () => (await theirs({ skipCache: true })) !== null,
      signIn: async (returnTo) => clerk.openSignIn({ fallbackRedirectUrl: ownPath(returnTo) }),
      signOut: async () => {
        leaveBrowser();
        setUser(null);
        await clerk.signOut();
      },
    };
  }, [user, getToken, clerk]);
  // Nothing is waited for once Clerk's script has failed.
  if (!isLoaded) return <ClerkLoading>{waiting}</ClerkLoading>;
  if (id !== null && user?.id !== id) return waiting;
  return <SessionProvider value={session}>{children}</SessionProvider>;
}

/** Without Clerk's script nobody can sign in. */
function NotLoaded() {
  const { title, text } = texts.signIn.notLoaded;
  const reload = (
    <Button kind="primary" onClick={() => window.location.reload()}>
      {texts.common.crash.action}
    </Button>
  );
  return (
    <main className="mx-auto max-w-5xl px-4 pt-24">
      <div role="alert">
        <Empty title={title} titleAs="h1" action={reload}>
          {text}
        </Empty>
      </div>
    </main>
  );
}

/** Clerk's own, which leads to where the person wanted to go. */
function SignInForm() {
  const to = ownPath(new URLSearchParams(window.location.search).get('to'));
  return <SignIn routing="hash" fallbackRedirectUrl={to} />;
}
