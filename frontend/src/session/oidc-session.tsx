import type { User } from 'oidc-client-ts';
import { type ReactNode, useEffect, useMemo, useState } from 'react';
import { texts } from '@/texts';
import type { PublicConfig } from './config';
import { leaveBrowser, onSignOutElsewhere } from './leaving';
import { credentialOf, openIdManager, type Started, signIn, signOut, start } from './oidc';
import { type Session, SessionProvider, type SignedIn } from './session';

type Props = { auth: PublicConfig['auth']; waiting: ReactNode; children: ReactNode };
type Manager = ReturnType<typeof openIdManager>;

// The issuer's answer in the address can be taken once, however often React mounts.
let opened: { manager: Manager; started: Promise<Started> } | null = null;

function open(auth: PublicConfig['auth']) {
  if (!opened) {
    const manager = openIdManager(auth);
    opened = { manager, started: start(manager) };
  }
  return opened;
}

/** Sign-in with any OpenID Connect issuer. */
export function OidcSession({ auth, waiting, children }: Props) {
  const { manager, started } = open(auth);
  const [state, setState] = useState<Started>({ is: 'passing' });
  const [signInFailed, setSignInFailed] = useState(false);
  useEffect(() => {
    started.then(setState);
  }, [started]);
  const setUser = useMemo(() => (user: User | null) => setState({ is: 'ready', user, failure: null }), []);
  useEffect(() => manager.events.addUserLoaded(setUser), [manager, setUser]);
  useEffect(
    () =>
      onSignOutElsewhere(() => {
        manager.removeUser();
        setUser(null);
      }),
    [manager, setUser],
  );

  const user = state.is === 'ready' ? state.user : null;
  const failure = state.is === 'ready' ? state.failure : null;
  const who = useSignedIn(user);
  const ways = useMemo(() => waysOf(manager), [manager]);
  const session = useMemo<Session>(
    () => ({
      kind: 'oidc',
      user: who,
      problem: failure || signInFailed ? texts.signIn.failed(hostOf(auth.issuer)) : null,
      form: null,
      ...ways,
      signIn: async (returnTo) => {
        setSignInFailed(false);
        await signIn(manager, returnTo, who !== null).catch(() => setSignInFailed(true));
      },
      signOut: async () => {
        leaveBrowser();
        await signOut(manager);
        setUser(null);
      },
    }),
    [who, failure, signInFailed, auth.issuer, ways, manager, setUser],
  );
  if (state.is === 'passing') return waiting;
  return <SessionProvider value={session}>{children}</SessionProvider>;
}

/** The same object while it is the same person, so that a renewed token changes nothing on the page. */
function useSignedIn(user: User | null): SignedIn | null {
  const id = user?.profile.sub ?? null;
  const name = user?.profile.name ?? null;
  const email = user?.profile.email ?? null;
  return useMemo(() => (id === null ? null : { id, name, email }), [id, name, email]);
}

function waysOf(manager: Manager): Pick<Session, 'token' | 'renew'> {
  let renewing: Promise<boolean> | null = null;
  const renew = () => {
    renewing ??= manager
      .signinSilent()
      .then((user) => user !== null)
      .catch(() => false)
      .finally(() => {
        renewing = null;
      });
    return renewing;
  };
  const current = async () => {
    const user = await manager.getUser();
    return user && !user.expired ? credentialOf(user) : null;
  };
  return { renew, token: async () => (await current()) ?? ((await renew()) ? current() : null) };
}

function hostOf(issuer: string | null | undefined): string {
  return issuer && URL.canParse(issuer) ? new URL(issuer).host : '';
}
