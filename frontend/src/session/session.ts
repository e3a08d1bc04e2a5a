import { createContext, createElement, type ReactNode, useContext, useEffect, useMemo } from 'react';
import { forgetCopilotKitKey, forgetOthersCopilotKitKey } from './copilotkit-key';

/** Who is in front of the page, and how requests say so. */
export interface Session {
  /** How people sign in here; `none` and `token` are local mode's. */
  kind: 'none' | 'token' | 'oidc' | 'clerk';
  /** null while nobody is signed in. */
  user: SignedIn | null;
  /** The credential for the next request; null where none is needed. */
  token: () => Promise<string | null>;
  /** Gets a new credential without asking; false if the person has to sign in again. */
  renew: () => Promise<boolean>;
  signIn: (returnTo: string) => Promise<void>;
  signOut: () => Promise<void>;
}

export interface SignedIn {
  /** As the issuer names them. Data of one user is never shown under another id. */
  id: string;
  name: string | null;
  email: string | null;
}

const SessionContext = createContext<Session | null>(null);

/** However people sign in: what a browser keeps for one of them is gone when they sign out or another one comes. */
export function SessionProvider({ value, children }: { value: Session; children: ReactNode }) {
  const userId = value.user?.id;
  useEffect(() => {
    if (userId !== undefined) forgetOthersCopilotKitKey(userId);
  }, [userId]);
  const session = useMemo<Session>(
    () => ({
      ...value,
      signOut: () => {
        forgetCopilotKitKey();
        return value.signOut();
      },
    }),
    [value],
  );
  return createElement(SessionContext.Provider, { value: session }, children);
}

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('useSession stands outside of SessionGate');
  return session;
}
