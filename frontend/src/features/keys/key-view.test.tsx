import { fireEvent, screen, waitFor } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { beforeEach, expect, test } from 'vitest';
import { Link, Route, Switch } from 'wouter';
import { keepCopilotKitKey, readCopilotKitKey } from '@/session/copilotkit-key';
import { api, problem, renderPage, standardAnswers, storedKey, testKeys } from '@/test/render';
import { server } from '@/test/server';
import { KeyView } from './key-view';

let asked: URL[] = [];

beforeEach(() => {
  asked = [];
  server.use(
    http.get(api('/audit'), ({ request }) => {
      asked.push(new URL(request.url));
      return HttpResponse.json({ events: [], next_cursor: null });
    }),
    // What changes a key looks again how far the user is.
    http.get(api('/onboarding/progress'), () => HttpResponse.json({})),
  );
});

const withKey = (id: string, fields: object = {}) =>
  server.use(...standardAnswers({ keys: [storedKey(id, fields)], missing: [] }));

const field = (name: string) => screen.findByLabelText(`${name} API key`);

const type = (input: HTMLElement, text: string) => fireEvent.change(input, { target: { value: text } });

test('a refused replacement says that the old key stays, and keeps what was typed', async () => {
  withKey('gemini');
  server.use(
    http.put(api('/keys/gemini'), () => problem(422, 'key_rejected', 'Google Gemini refused this key.')),
  );
  const { user } = renderPage(<KeyView provider="gemini" />);
  await user.click(await screen.findByRole('button', { name: 'Replace' }));
  expect(await field('Google Gemini')).toHaveFocus();
  expect(screen.getByText(/If it is refused, the old one stays/)).toBeVisible();
  type(await field('Google Gemini'), testKeys.gemini);
  await user.click(screen.getByRole('button', { name: 'Check and replace' }));
  expect(await screen.findByText('Google Gemini refused this key.')).toBeVisible();
  expect(await field('Google Gemini')).toHaveValue(testKeys.gemini);
  expect(screen.getByText('••••1234')).toBeVisible();
});

test('a replaced key is gone from the page', async () => {
  withKey('gemini');
  server.use(
    http.put(api('/keys/gemini'), () =>
      HttpResponse.json({ ...storedKey('gemini', { masked: '••••1111' }), warnings: ['Mind this.'] }),
    ),
  );
  const { user, container } = renderPage(<KeyView provider="gemini" />);
  await user.click(await screen.findByRole('button', { name: 'Replace' }));
  type(await field('Google Gemini'), testKeys.gemini);
  await user.click(screen.getByRole('button', { name: 'Check and replace' }));
  expect(await screen.findByText('Mind this.')).toBeVisible();
  expect(screen.queryByLabelText('Google Gemini API key')).toBeNull();
  expect(container.innerHTML).not.toContain(testKeys.gemini);
});

test('a saved key can be tested, and the outcome says what to do', async () => {
  withKey('gemini');
  server.use(
    http.post(api('/keys/gemini/validate'), () =>
      HttpResponse.json({ valid: true, status: 'limited', detail: 'The account has no credits left.' }),
    ),
  );
  const { user } = renderPage(<KeyView provider="gemini" />);
  await user.click(await screen.findByRole('button', { name: 'Test key' }));
  expect(await screen.findByText('The account has no credits left.')).toBeVisible();
  expect(screen.getByText('Calls may fail until that is put right at the provider.')).toBeVisible();
});

test('only a key that has one before it can be rolled back', async () => {
  withKey('gemini');
  const { unmount } = renderPage(<KeyView provider="gemini" />);
  await screen.findByRole('button', { name: 'Replace' });
  expect(screen.queryByRole('button', { name: 'Roll back' })).toBeNull();
  unmount();

  withKey('gemini', { has_previous: true });
  server.use(http.post(api('/keys/gemini/rollback'), () => HttpResponse.json(storedKey('gemini'))));
  const { user } = renderPage(<KeyView provider="gemini" />);
  await user.click(await screen.findByRole('button', { name: 'Roll back' }));
  expect(await screen.findByText(/The two keys have changed places/)).toBeVisible();
});

test('deleting asks first and says what stops working', async () => {
  withKey('gemini', { files: ['/home/ann/app/.env'] });
  let deleted = 0;
  server.use(
    http.delete(api('/keys/gemini'), () => {
      deleted += 1;
      return new HttpResponse(null, { status: 204 });
    }),
  );
  const { user } = renderPage(<KeyView provider="gemini" />);
  await user.click(await screen.findByRole('button', { name: 'Delete' }));
  const dialog = await screen.findByRole('dialog', { name: 'Delete your Google Gemini key?' });
  expect(dialog).toHaveTextContent('Texts are no longer generated with Google Gemini.');
  expect(dialog).toHaveTextContent('The setup needs this key');
  expect(dialog).toHaveTextContent('It is also removed from /home/ann/app/.env.');
  await user.click(screen.getByRole('button', { name: 'Cancel' }));
  await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull());
  expect(deleted).toBe(0);

  await user.click(screen.getByRole('button', { name: 'Delete' }));
  server.use(...standardAnswers());
  await user.click(await screen.findByRole('button', { name: 'Delete key' }));
  expect(await screen.findByText('Your Google Gemini key is deleted.')).toBeVisible();
  expect(await field('Google Gemini')).toBeVisible();
  expect(deleted).toBe(1);
});

test('CopilotKit’s key goes from the browser when it is deleted', async () => {
  keepCopilotKitKey('local', testKeys.copilotkit);
  withKey('copilotkit');
  server.use(http.delete(api('/keys/copilotkit'), () => new HttpResponse(null, { status: 204 })));
  const { user } = renderPage(<KeyView provider="copilotkit" />);
  await user.click(await screen.findByRole('button', { name: 'Delete' }));
  await user.click(await screen.findByRole('button', { name: 'Delete key' }));
  await screen.findByText('Your CopilotKit key is deleted.');
  expect(readCopilotKitKey('local')).toBeNull();
});

test('a browser without CopilotKit’s key says how to get the assistant here', async () => {
  withKey('copilotkit');
  const { user } = renderPage(<KeyView provider="copilotkit" />);
  expect(await screen.findByText(/This browser has no copy of this key/)).toBeVisible();
  server.use(
    http.put(api('/keys/copilotkit'), () => HttpResponse.json({ ...storedKey('copilotkit'), warnings: [] })),
  );
  await user.click(screen.getByRole('button', { name: 'Replace' }));
  type(await field('CopilotKit'), testKeys.copilotkit);
  await user.click(screen.getByRole('button', { name: 'Check and replace' }));
  await waitFor(() => expect(screen.queryByText(/This browser has no copy of this key/)).toBeNull());
  expect(readCopilotKitKey('local')).toBe(testKeys.copilotkit);
});

test('a variable that comes before the saved key is named', async () => {
  withKey('gemini', { source: 'environment', overridden: 'GEMINI_API_KEY' });
  renderPage(<KeyView provider="gemini" />);
  expect(
    await screen.findByText(/environment variable GEMINI_API_KEY comes before what is saved here/),
  ).toBeVisible();
});

test('a key that cannot be read any more is asked for at once', async () => {
  withKey('gemini', { status: 'unreadable' });
  renderPage(<KeyView provider="gemini" />);
  expect(await screen.findByText('This key has to be entered again')).toBeVisible();
  expect(await field('Google Gemini')).toBeVisible();
});

test('a provider without a key takes one, also out of a pasted .env block', async () => {
  server.use(...standardAnswers());
  const { user } = renderPage(<KeyView provider="gemini" />);
  fireEvent.paste(await field('Google Gemini'), {
    clipboardData: { getData: () => `EXA_API_KEY=${testKeys.exa}\nGEMINI_API_KEY=${testKeys.gemini}` },
  });
  expect(await field('Google Gemini')).toHaveValue(testKeys.gemini);
  expect(screen.getByText(/Took the key in GEMINI_API_KEY/)).toBeVisible();
  expect(await field('Google Gemini')).toHaveAttribute('type', 'password');
  await user.click(screen.getByRole('button', { name: 'Show the Google Gemini key' }));
  expect(await field('Google Gemini')).toHaveAttribute('type', 'text');
});

test('the key’s own activity is asked for', async () => {
  withKey('gemini');
  renderPage(<KeyView provider="gemini" />);
  expect(await screen.findByText('Nothing yet.')).toBeVisible();
  expect(asked.map(({ search }) => search)).toEqual(['?provider=gemini&limit=20']);
});

test('an unknown provider is told as such', async () => {
  server.use(...standardAnswers());
  renderPage(<KeyView provider="nobody" />);
  expect(await screen.findByText('There is no provider of that name')).toBeVisible();
});

test('what a provider says of a key says nothing of one that was typed meanwhile', async () => {
  server.use(...standardAnswers());
  let answer = () => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  server.use(
    http.post(api('/keys/gemini/validate'), async () => {
      await answered;
      return HttpResponse.json({ valid: true, status: 'valid', detail: 'It works.' });
    }),
  );
  const { user } = renderPage(<KeyView provider="gemini" />);
  type(await field('Google Gemini'), testKeys.gemini);
  await user.click(screen.getByRole('button', { name: 'Test key' }));
  type(await field('Google Gemini'), `${testKeys.gemini}2`);
  answer();
  expect(await screen.findByRole('button', { name: 'Test key' })).toBeVisible();
  expect(screen.queryByText('This key works.')).toBeNull();
});

test('who saved a key goes on from what came of it', async () => {
  let keys: object[] = [];
  server.use(
    http.get(api('/keys'), () => HttpResponse.json({ keys, missing: [] })),
    ...standardAnswers(),
    http.put(api('/keys/gemini'), () => {
      keys = [storedKey('gemini')];
      return HttpResponse.json({ ...storedKey('gemini'), warnings: [] }, { status: 201 });
    }),
  );
  const { user } = renderPage(<KeyView provider="gemini" />);
  type(await field('Google Gemini'), testKeys.gemini);
  await user.click(screen.getByRole('button', { name: 'Save key' }));
  const said = await screen.findByText('Saved. It works.');
  await waitFor(() => expect(said.closest('[tabindex]')).toHaveFocus());
});

test('a key that was saved is not taken for one that is being typed, whatever is fetched first', async () => {
  server.use(...standardAnswers());
  const { user } = renderPage(<KeyView provider="gemini" />);
  type(await field('Google Gemini'), testKeys.gemini);
  let goOn = () => {};
  const later = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  withKey('gemini');
  server.use(
    http.put(api('/keys/gemini'), () => HttpResponse.json({ ...storedKey('gemini'), warnings: [] })),
    http.get(api('/audit'), async () => {
      await later;
      return HttpResponse.json({ events: [], next_cursor: null });
    }),
  );
  await user.click(screen.getByRole('button', { name: 'Save key' }));
  expect(await screen.findByRole('button', { name: 'Delete' })).toBeVisible();
  goOn();
  expect(await screen.findByText(/Saved/)).toBeVisible();
  expect(screen.getByRole('button', { name: 'Delete' })).toBeVisible();
  expect(screen.queryByLabelText('Google Gemini API key')).toBeNull();
});

test('what was typed is there again when the view is, until it is given up', async () => {
  withKey('gemini');
  const { user, history } = renderPage(
    <Switch>
      <Route path="/">
        <KeyView provider="gemini" />
      </Route>
      <Route>
        <Link to="/">back</Link>
      </Route>
    </Switch>,
  );
  await user.click(await screen.findByRole('button', { name: 'Replace' }));
  type(await field('Google Gemini'), testKeys.gemini);
  await user.click(screen.getByRole('link', { name: /All keys|Keys/ }));
  expect(history.at(-1)).toBe('/keys');
  await user.click(screen.getByRole('link', { name: 'back' }));
  expect(await field('Google Gemini')).toHaveValue(testKeys.gemini);
  await user.click(screen.getByRole('button', { name: 'Keep the old key' }));
  await user.click(await screen.findByRole('button', { name: 'Replace' }));
  expect(await field('Google Gemini')).toHaveValue('');
});
