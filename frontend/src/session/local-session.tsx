import { type ReactNode, useMemo } from 'react';
import { type Session, SessionProvider } from './session';

/** Local mode: one developer, who needs no sign-in, or whose browser has the cookie that `?token=` gave. */
export function LocalSession({ kind, children }: { kind: 'none' | 'token'; children: ReactNode }) {
  const session = useMemo<Session>(
    () => ({
      kind,
      user: { id: 'local', name: null, email: null },
      problem: null,
      form: null,
      token: async () => null,
      renew: async () => false,
      signIn: async () => window.location.reload(),
      signOut: async () => {},
    }),
    [kind],
  );
  return <SessionProvider value={session}>{children}</SessionProvider>;
}
