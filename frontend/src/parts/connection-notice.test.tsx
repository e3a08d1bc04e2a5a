import { act, screen } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { afterEach, expect, test, vi } from 'vitest';
import type { Session } from '@/session/session';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { api, problem, renderPage } from '@/test/render';
import { server } from '@/test/server';
import { ConnectionNotice } from './connection-notice';
import { useKeys } from './queries';

function Page({ onRetry }: { onRetry?: () => void }) {
  const { error } = useKeys();
  return (
    <>
      <ConnectionNotice />
      <ProblemNotice error={error} {...(onRetry ? { onRetry } : {})} />
    </>
  );
}

const session = (kind: Session['kind']): Session => ({
  kind,
  user: { id: 'anna', name: null, email: null },
  problem: null,
  form: null,
  token: async () => null,
  renew: async () => false,
  signIn: async () => {},
  signOut: async () => {},
});

function setOnline(isOnline: boolean) {
  vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(isOnline);
  act(() => {
    window.dispatchEvent(new Event(isOnline ? 'online' : 'offline'));
  });
}

afterEach(() => setOnline(true));

for (const kind of ['token', 'none'] as const) {
  test(`where nobody signs in (${kind}), nobody reads that they should`, async () => {
    server.use(http.get(api('/keys'), () => problem(401, 'unauthenticated', 'Send the token.')));
    renderPage(<Page />, { session: session(kind) });
    expect(await screen.findByText('This Keyfold asks for its token')).toBeVisible();
    expect(screen.getByText(/The notice at the top says how to go on/)).toBeVisible();
    expect(screen.queryByText(/sign in|session/i)).toBeNull();
  });
}

test('a session that ended says so once, and leads on', async () => {
  server.use(http.get(api('/keys'), () => problem(401, 'unauthenticated', 'Send a token.')));
  renderPage(<Page />, { session: session('oidc') });
  expect(await screen.findByText('Your session has ended')).toBeVisible();
  expect(screen.getByRole('button', { name: 'Sign in' })).toBeVisible();
});

test('that there was no network is not said any more once there is one', async () => {
  setOnline(false);
  server.use(http.get(api('/keys'), () => HttpResponse.error()));
  const { unmount } = renderPage(<Page />, { session: session('oidc') });
  await vi.waitFor(() => expect(screen.getAllByText(/You are offline/)).toHaveLength(2), 10_000);
  setOnline(true);
  expect(screen.queryByText(/You are offline/)).toBeNull();
  expect(screen.queryByText(/cannot be reached/)).toBeNull();
  unmount();

  // Where there is something to do about it, that stays.
  setOnline(false);
  renderPage(<Page onRetry={() => {}} />, { session: session('oidc') });
  await vi.waitFor(() => expect(screen.getAllByText(/You are offline/)).toHaveLength(2), 10_000);
  setOnline(true);
  expect(screen.getByText('You are online again. Try once more.')).toBeVisible();
  expect(screen.getByRole('button', { name: 'Try again' })).toBeVisible();
});
