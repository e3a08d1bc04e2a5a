import { ClerkFailed, ClerkProvider, SignIn, useAuth, useClerk, useUser } from '@clerk/react';
import { type ReactNode, useEffect, useMemo, useState } from 'react';
import { texts } from '@/texts';
import { leaveBrowser, onSignOutElsewhere } from './leaving';
import { ownPath, type Session, SessionProvider, type SignedIn } from './session';

type Props = { publishableKey: string; waiting: ReactNode; children: ReactNode };

/** Sign-in with Clerk's own components. */
export function ClerkSession({ publishableKey, waiting, children }: Props) {
  return (
    <ClerkProvider publishableKey={publishableKey} afterSignOutUrl="/sign-in">
      <ClerkFailed>
        <p role="alert" className="mx-auto max-w-5xl px-4 pt-24">
          {texts.signIn.failed('Clerk')}
        </p>
      </ClerkFailed>
      <WithClerk waiting={waiting}>{children}</WithClerk>
    </ClerkProvider>
  );
}

function WithClerk({ waiting, children }: { waiting: ReactNode; children: ReactNode }) {
  const { isLoaded, getToken } = useAuth();
  const { user: clerkUser } = useUser();
  const clerk = useClerk();
  const [user, setUser] = useState<SignedIn | null>(null);
  const id = clerkUser?.id ?? null;
  const name = clerkUser?.fullName ?? null;
  const email = clerkUser?.primaryEmailAddress?.emailAddress ?? null;
  useEffect(() => {
    // A session that ran out leaves the person on the page, with what they typed.
    if (id !== null) setUser({ id, name, email });
  }, [id, name, email]);
  useEffect(() => onSignOutElsewhere(() => setUser(null)), []);
  const session = useMemo<Session>(
    () => ({
      kind: 'clerk',
      user,
      problem: null,
      form: <SignIn routing="hash" />,
      token: () => getToken(),
      renew: async () => (await getToken({ skipCache: true })) !== null,
      signIn: async (returnTo) => clerk.openSignIn({ fallbackRedirectUrl: ownPath(returnTo) }),
      signOut: async () => {
        leaveBrowser();
        setUser(null);
        await clerk.signOut();
      },
    }),
    [user, getToken, clerk],
  );
  if (!isLoaded || (id !== null && user === null)) return waiting;
  return <SessionProvider value={session}>{children}</SessionProvider>;
}
