import { screen, waitFor } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { beforeEach, expect, test, vi } from 'vitest';
import { useDraft } from '@/parts/draft';
import type { Session } from '@/session/session';
import { api, problem, renderPage, storedKey } from '@/test/render';
import { server } from '@/test/server';
import { AccountView } from './account-view';

const SECRET = 'test-data-secret-that-must-not-leave';

const signedIn = (): Session => ({
  kind: 'oidc',
  user: { id: 'user_1', name: 'Ada', email: 'ada@example.com' },
  problem: null,
  form: null,
  token: async () => 'test-token',
  renew: async () => false,
  signIn: async () => {},
  signOut: vi.fn(async () => {}),
});

/** The files that were made, by their contents. */
let files: Blob[] = [];
beforeEach(() => {
  files = [];
  URL.createObjectURL = (file) => {
    files.push(file as Blob);
    return 'blob:test';
  };
  URL.revokeObjectURL = () => {};
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(() => {});
});

function textOf(file: Blob | undefined): Promise<string> {
  const reader = new FileReader();
  const read = new Promise<string>((resolve) => {
    reader.onload = () => resolve(String(reader.result));
  });
  reader.readAsText(file ?? new Blob());
  return read;
}

function keyfoldWithData() {
  const event = (id: number) => ({
    id,
    at: '2026-11-30T12:00:00Z',
    action: 'key.saved',
    actor: 'user',
    outcome: 'ok',
  });
  server.use(
    // A later server, or a wrong one, says more than it should.
    http.get(api('/keys'), () =>
      HttpResponse.json({ keys: [storedKey('gemini', { key: SECRET, plain: SECRET })], missing: [] }),
    ),
    http.get(api('/usage'), () => HttpResponse.json({ usage: [] })),
    http.get(api('/onboarding/progress'), () =>
      HttpResponse.json({
        steps: [
          { step_number: 1, title: 'Keys', status: 'completed', data: { api_keys: { gemini: SECRET } } },
        ],
        current_step: 2,
        started_at: '2026-11-30T12:00:00Z',
        is_completed: false,
      }),
    ),
    http.get(api('/audit'), ({ request }) =>
      new URL(request.url).searchParams.has('cursor')
        ? HttpResponse.json({ events: [event(1)], next_cursor: null })
        : HttpResponse.json({ events: [event(3), event(2)], next_cursor: 'older' }),
    ),
  );
}

test('the export has all pages of activity and no secret', async () => {
  keyfoldWithData();
  const { user } = renderPage(<AccountView />, { path: '/account' });
  await user.click(screen.getByRole('button', { name: 'Download my data' }));
  expect(await screen.findByText(/is in your downloads, with 3 events\.$/)).toBeInTheDocument();
  const text = await textOf(files[0]);
  expect(text).not.toContain(SECRET);
  const exported = JSON.parse(text);
  expect(exported.activity.map(({ id }: { id: number }) => id)).toEqual([3, 2, 1]);
  expect(exported.keys).toEqual([
    expect.objectContaining({ provider: 'gemini', masked: '••••1234', status: 'valid' }),
  ]);
  expect(exported.onboarding.steps).toEqual([{ step_number: 1, title: 'Keys', status: 'completed' }]);
});

test('an export that fails makes no file and says why', async () => {
  keyfoldWithData();
  server.use(http.get(api('/usage'), () => problem(403, 'forbidden', 'Not for you.')));
  const { user } = renderPage(<AccountView />, { path: '/account' });
  await user.click(screen.getByRole('button', { name: 'Download my data' }));
  expect(await screen.findByRole('alert')).toHaveTextContent('Not for you.');
  expect(files).toEqual([]);
});

test('nothing is deleted before the word is typed', async () => {
  const removed = vi.fn();
  server.use(
    http.delete(api('/me'), () => {
      removed();
      return new HttpResponse(null, { status: 204 });
    }),
  );
  const session = signedIn();
  localStorage.setItem('copilotkit_api_key', 'ck_pub_TestData00003333');
  localStorage.setItem('copilotkit_api_key_owner', 'user_1');
  const { user } = renderPage(<AccountView />, { path: '/account', session });
  expect(screen.getByText('ada@example.com')).toBeInTheDocument();
  await user.click(screen.getByRole('button', { name: 'Delete everything…' }));
  const confirm = await screen.findByRole('button', { name: 'Delete everything' });
  expect(screen.getByText('the audit log, which also says that you deleted everything')).toBeInTheDocument();
  const word = screen.getByLabelText('Type “delete” to go on');
  await user.type(word, 'delet{Enter}');
  expect(confirm).toBeDisabled();
  expect(removed).not.toHaveBeenCalled();

  await user.type(word, 'e');
  await user.click(confirm);
  await waitFor(() => expect(session.signOut).toHaveBeenCalledOnce());
  expect(removed).toHaveBeenCalledOnce();
  expect(localStorage.getItem('copilotkit_api_key')).toBeNull();
});

test('a deletion that fails says why, and can be tried again without typing', async () => {
  const detail = 'The .env file cannot be written. Change its mode, then try again.';
  server.use(http.delete(api('/me'), () => problem(500, 'env_file', detail)));
  const { user } = renderPage(<AccountView />, { path: '/account' });
  await user.click(screen.getByRole('button', { name: 'Delete everything…' }));
  expect(await screen.findByText('their lines in the .env files')).toBeInTheDocument();
  await user.type(screen.getByLabelText('Type “delete” to go on'), 'delete{Enter}');
  expect(await screen.findByRole('alert')).toHaveTextContent(detail);
  expect(screen.getByLabelText('Type “delete” to go on')).toHaveValue('delete');

  server.use(http.delete(api('/me'), () => new HttpResponse(null, { status: 204 })));
  await user.click(screen.getByRole('button', { name: 'Delete everything' }));
  expect(await screen.findByText('Everything is deleted')).toBeInTheDocument();
  expect(screen.getByRole('link', { name: 'Set up again' })).toHaveAttribute('href', '/onboarding');
});

test('in local mode a deletion takes what was typed and not saved with it', async () => {
  keyfoldWithData();
  server.use(http.delete(api('/me'), () => new HttpResponse(null, { status: 204 })));
  const { user } = renderPage(
    <>
      <Typing />
      <AccountView />
    </>,
  );
  await user.type(screen.getByLabelText('typed'), 'half of a key');
  await user.click(await screen.findByRole('button', { name: 'Delete everything…' }));
  await user.type(await screen.findByLabelText(/Type “delete”/), 'delete');
  await user.click(screen.getByRole('button', { name: 'Delete everything' }));
  await waitFor(() => expect(screen.getByLabelText('typed')).toHaveValue(''));
});

function Typing() {
  const [text, type] = useDraft('test');
  return <input aria-label="typed" value={text} onChange={(event) => type(event.target.value)} />;
}
