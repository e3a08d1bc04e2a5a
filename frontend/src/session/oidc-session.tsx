import type { User } from 'oidc-client-ts';
import { type ReactNode, useEffect, useMemo, useState } from 'react';
import { canKeep } from '@/shared/storage';
import { texts } from '@/texts';
import { hostOf, type PublicConfig } from './config';
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
  const [signInFailure, setSignInFailure] = useState<unknown>(null);
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
  const id = who?.id ?? null;
  const ways = useMemo(() => waysOf(manager, id), [manager, id]);
  const session = useMemo<Session>(
    () => ({
      kind: 'oidc',
      user: who,
      problem: problemOf(failure ?? signInFailure, auth),
      form: null,
      ...ways,
      signIn: async (returnTo) => {
        setSignInFailure(null);
        await signIn(manager, returnTo, who !== null).catch(setSignInFailure);
      },
      signOut: async () => {
        leaveBrowser();
        // At once: on the way to the issuer nothing is left on the page that the back button could bring back.
        setUser(null);
        await signOut(manager);
      },
    }),
    [who, failure, signInFailure, auth, ways, manager, setUser],
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

/** Of one person: what is still on its way when another one signs in never goes out in that one's name. */
export function waysOf(manager: Manager, id: string | null): Pick<Session, 'token' | 'renew'> {
  const theirs = async () => {
    const user = await manager.getUser();
    return user && user.profile.sub === id ? user : null;
  };
  let renewing: Promise<boolean> | null = null;
  const renewOnce = async () => {
    if (!(await theirs())) return false;
    const renewed = await manager.signinSilent().catch(() => null);
    return renewed?.profile.sub === id;
  };
  const renew = () => {
    renewing ??= renewOnce().finally(() => {
      renewing = null;
    });
    return renewing;
  };
  const current = async () => {
    const user = await theirs();
    return user && !user.expired ? credentialOf(user) : null;
  };
  return { renew, token: async () => (await current()) ?? ((await renew()) ? current() : null) };
}

function problemOf(failure: unknown, auth: PublicConfig['auth']): string | null {
  if (!canKeep()) return texts.signIn.noStorage;
  return failure ? texts.signIn.failed(hostOf(auth) ?? '') : null;
}
