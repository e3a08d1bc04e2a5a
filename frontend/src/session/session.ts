import { createContext, createElement, type ReactNode, useContext, useEffect } from 'react';
import { inFront, nobodyInFront } from './copilotkit-key';

/** Who is in front of the page, and how requests say so. */
export interface Session {
  /** How people sign in here; `none` and `token` are local mode's. */
  kind: 'none' | 'token' | 'oidc' | 'clerk';
  /** null while nobody is signed in. Stays when a credential runs out: what was typed must not go with it. */
  user: SignedIn | null;
  /** Why the last attempt to sign in failed, in plain words. */
  problem: string | null;
  /** The issuer's own form, where it has one that stands in a page. */
  form: ReactNode;
  /** The credential for the next request; null where none is needed or there is none. */
  token: () => Promise<string | null>;
  /** Gets a new credential without asking; false if the person has to sign in again. */
  renew: () => Promise<boolean>;
  /** Lets the person sign in: on the issuer's page, or beside this one if somebody was signed in. */
  signIn: (returnTo: string) => Promise<void>;
  signOut: () => Promise<void>;
}

export interface SignedIn {
  /** As the issuer names them. Data of one user is never shown under another id. */
  id: string;
  name: string | null;
  email: string | null;
}

/** Where people do not sign in: whoever may use the machine is the one user. */
export function isOfLocalMode(kind: Session['kind']): kind is 'none' | 'token' {
  return kind === 'none' || kind === 'token';
}

const SessionContext = createContext<Session | null>(null);

/** Whoever is there finds nothing in the browser that somebody else left. */
export function SessionProvider({ value, children }: { value: Session; children: ReactNode }) {
  const userId = value.user?.id ?? null;
  // Where it could not be found out who is here, it may still be the one whose key it is.
  const isNobody = userId === null && value.problem === null;
  useEffect(() => (isNobody ? nobodyInFront() : inFront(userId)), [userId, isNobody]);
  return createElement(SessionContext.Provider, { value }, children);
}

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('useSession stands outside of SessionGate');
  return session;
}

/** An address inside this page, whatever was asked for. */
export function ownPath(asked: unknown): string {
  const { origin } = window.location;
  if (typeof asked !== 'string' || !asked.startsWith('/') || !URL.canParse(asked, origin)) return '/';
  // As a browser reads it, which drops tabs and line breaks, resolves dots, and takes a backslash for a slash.
  const { origin: found, pathname, search, hash } = new URL(asked, origin);
  if (found !== origin || /^\/(\/|callback|sign-in)/.test(pathname)) return '/';
  return pathname + search + hash;
}
