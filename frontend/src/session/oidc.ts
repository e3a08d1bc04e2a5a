import {
  ErrorResponse,
  InMemoryWebStorage,
  type User,
  UserManager,
  WebStorageStateStore,
} from 'oidc-client-ts';
import { canKeep, forget, keep, read } from '@/shared/storage';
import type { PublicConfig } from './config';
import { ownPath } from './session';

// Not a credential: says that it is worth asking the issuer whether the person is still signed in there.
const WAS_HERE = 'keyfold-signed-in';

/** What came of opening the page. */
export type Started =
  /** This document is a frame or a popup that only passes the issuer's answer on, or it is on its way to the issuer. */
  { is: 'passing' } | { is: 'ready'; user: User | null; failure: unknown };

/** Signing in with any OpenID Connect issuer: authorization code with PKCE. Tokens are kept in memory only. */
export function openIdManager(auth: PublicConfig['auth']): UserManager {
  return new UserManager({
    authority: auth.issuer ?? '',
    client_id: auth.client_id ?? '',
    redirect_uri: `${window.location.origin}/callback`,
    post_logout_redirect_uri: `${window.location.origin}/`,
    scope: 'openid profile email',
    // For an access token that Keyfold can check; issuers name the audience one way or the other.
    ...(auth.audience ? { resource: auth.audience, extraQueryParams: { audience: auth.audience } } : {}),
    userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
    // Between this page and its way back from the issuer, for minutes. Without storage there is no way back.
    stateStore: new WebStorageStateStore({ store: canKeep() ? localStorage : new InMemoryWebStorage() }),
    automaticSilentRenew: true,
    monitorSession: false,
    silentRequestTimeoutInSeconds: 10,
    requestTimeoutInSeconds: 10,
  });
}

/** Takes the issuer's answer if this is one; else finds out whether the person is signed in at the issuer. */
export async function start(manager: UserManager): Promise<Started> {
  if (window.location.pathname === '/callback') return takeAnswer(manager);
  if (read(WAS_HERE) === null) return { is: 'ready', user: null, failure: null };
  try {
    await manager.signinRedirect({ prompt: 'none', state: here() });
    return { is: 'passing' };
  } catch (failure) {
    return { is: 'ready', user: null, failure };
  }
}

async function takeAnswer(manager: UserManager): Promise<Started> {
  try {
    const user = await manager.signinCallback();
    if (!user) return { is: 'passing' };
    window.history.replaceState(null, '', ownPath(user.state));
    keep(WAS_HERE, 'yes');
    await manager.clearStaleState();
    return { is: 'ready', user, failure: null };
  } catch (failure) {
    // The page that opened the frame does not wait for it any more.
    if (window.parent !== window) return { is: 'passing' };
    if (failure instanceof ErrorResponse) return refused(failure);
    window.history.replaceState(null, '', '/');
    // No answer to this page, or one that was taken before, as after a reload. Who signed in, the issuer still knows.
    const isNoAnswer = failure instanceof Error && /^No (matching )?state/.test(failure.message);
    return isNoAnswer ? start(manager) : { is: 'ready', user: null, failure };
  }
}

function refused(failure: ErrorResponse): Started {
  forget(WAS_HERE);
  window.history.replaceState(null, '', ownPath(failure.state));
  // What `prompt: none` answers when the person is not signed in there: no failure.
  const isSignedOut = ['login_required', 'interaction_required', 'consent_required'].includes(
    failure.error ?? '',
  );
  return { is: 'ready', user: null, failure: isSignedOut ? null : failure };
}

/** The access token if Keyfold can check it (a JWT), else the ID token. */
export function credentialOf(user: User): string | null {
  return isJwt(user.access_token) ? user.access_token : (user.id_token ?? null);
}

function isJwt(token: string): boolean {
  const parts = token.split('.');
  return parts.length === 3 && parts[0]?.startsWith('eyJ') === true;
}

export async function signIn(
  manager: UserManager,
  returnTo: string,
  isBeside: boolean,
): Promise<User | null> {
  if (!isBeside) {
    await manager.signinRedirect({ state: ownPath(returnTo) });
    return null;
  }
  const user = await manager.signinPopup({ popupWindowFeatures: { width: 480, height: 720 } });
  keep(WAS_HERE, 'yes');
  return user;
}

/** Signs out here, and at the issuer where it has a way to. */
export async function signOut(manager: UserManager): Promise<void> {
  forget(WAS_HERE);
  const user = await manager.getUser();
  await manager.removeUser();
  const canEndSession = await manager.metadataService.getEndSessionEndpoint().catch(() => undefined);
  if (!user || !canEndSession) return;
  const hint = isCredential(user, manager) ? undefined : user.id_token;
  // Here they are signed out, whatever the issuer says.
  await manager.signoutRedirect(hint ? { id_token_hint: hint } : {}).catch(() => {});
}

/** Whether Keyfold may take the ID token, too. Then it is put into no address: browsers remember those. */
function isCredential(user: User, { settings: { client_id, resource } }: UserManager): boolean {
  return !resource || resource === client_id || credentialOf(user) === user.id_token;
}

function here(): string {
  return window.location.pathname + window.location.search;
}
