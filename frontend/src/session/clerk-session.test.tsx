import { render, screen } from '@testing-library/react';
import { beforeEach, expect, test, vi } from 'vitest';
import { ClerkSession } from './clerk-session';
import { type Session, useSession } from './session';

// Clerk as its hooks tell of it; the live service is not asked.
const clerk = vi.hoisted(() => ({
  status: 'ready' as 'loading' | 'ready' | 'error',
  userId: null as string | null,
  user: null as { id: string } | null,
  getToken: async () => 'eyJ.test.data' as string | null,
}));
vi.mock('@clerk/react', () => ({
  ClerkProvider: ({ children }: { children: unknown }) => children,
  ClerkFailed: ({ children }: { children: unknown }) => (clerk.status === 'error' ? children : null),
  ClerkLoading: ({ children }: { children: unknown }) => (clerk.status === 'loading' ? children : null),
  SignIn: () => 'Clerk’s form',
  useAuth: () => ({ isLoaded: clerk.status === 'ready', userId: clerk.userId, getToken: clerk.getToken }),
  useUser: () => ({ user: clerk.user }),
  useClerk: () => clerk,
}));

let session: Session | null = null;

function Who() {
  session = useSession();
  return <p>{session.user?.id ?? 'nobody'}</p>;
}

const page = () => (
  <ClerkSession publishableKey="pk_test_data" waiting={<p>waiting</p>}>
    <Who />
  </ClerkSession>
);

function is(id: string | null) {
  clerk.userId = id;
  clerk.user = id === null ? null : { id };
}

beforeEach(() => {
  is(null);
  clerk.status = 'ready';
});

test('where Clerk’s script does not come, the page says so under a heading, and waits no more', () => {
  clerk.status = 'loading';
  const { rerender } = render(page());
  expect(screen.getByText('waiting')).toBeVisible();
  clerk.status = 'error';
  rerender(page());
  expect(screen.getByRole('heading', { level: 1, name: 'Signing in could not be loaded' })).toBeVisible();
  expect(screen.getByRole('button', { name: 'Reload' })).toBeVisible();
  expect(screen.queryByText('waiting')).toBeNull();
});

test('whose session is pending at Clerk is not signed in', () => {
  clerk.user = { id: 'user_anna' };
  render(page());
  expect(screen.getByText('nobody')).toBeVisible();
});

test('a session that ran out leaves the person on the page, without a credential', async () => {
  is('user_anna');
  const { rerender } = render(page());
  expect(screen.getByText('user_anna')).toBeVisible();
  expect(await session?.token()).toBe('eyJ.test.data');
  is(null);
  rerender(page());
  expect(screen.getByText('user_anna')).toBeVisible();
  expect(await session?.token()).toBeNull();
  expect(await session?.renew()).toBe(false);
});

test('a request that another person’s sign-in overtakes does not go out in that one’s name', async () => {
  is('user_anna');
  const { rerender } = render(page());
  const annas = session;
  is('user_ben');
  rerender(page());
  expect(screen.getByText('user_ben')).toBeVisible();
  expect(await annas?.token()).toBeNull();
  expect(await session?.token()).toBe('eyJ.test.data');
});
