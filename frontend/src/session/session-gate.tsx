import { lazy, type ReactNode, Suspense } from 'react';
import type { PublicConfig } from './config';
import { LocalSession } from './local-session';

// Loaded only where people sign in that way.
const OidcSession = lazy(() => import('./oidc-session').then((module) => ({ default: module.OidcSession })));
const ClerkSession = lazy(() =>
  import('./clerk-session').then((module) => ({ default: module.ClerkSession })),
);

type Props = { config: PublicConfig; waiting: ReactNode; children: ReactNode };

/** Knows who is in front of the page, the way that this Keyfold has people sign in. */
export function SessionGate({ config, waiting, children }: Props) {
  const { auth } = config;
  if (auth.kind === 'clerk') {
    return (
      <Suspense fallback={waiting}>
        <ClerkSession publishableKey={auth.publishable_key || __CLERK_PUBLISHABLE_KEY__} waiting={waiting}>
          {children}
        </ClerkSession>
      </Suspense>
    );
  }
  if (auth.kind === 'oidc') {
    return (
      <Suspense fallback={waiting}>
        <OidcSession auth={auth} waiting={waiting}>
          {children}
        </OidcSession>
      </Suspense>
    );
  }
  return <LocalSession kind={auth.kind === 'token' ? 'token' : 'none'}>{children}</LocalSession>;
}
