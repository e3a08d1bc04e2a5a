import { screen, within } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { expect, test } from 'vitest';
import { api, problem, renderPage, standardAnswers, storedKey } from '@/test/render';
import { server } from '@/test/server';
import { KeysView } from './keys-view';

test('each key is shown masked, with how it stands and where it comes from', async () => {
  server.use(
    ...standardAnswers({
      keys: [
        storedKey('gemini', { source: 'env_file' }),
        storedKey('openai', { status: 'limited', masked: '••••9876' }),
      ],
      missing: [],
    }),
  );
  renderPage(<KeysView />);
  const list = await screen.findByRole('list', { name: 'Keys that are there' });
  const [gemini, openai] = within(list).getAllByRole('link');
  expect(gemini).toHaveTextContent(/Google Gemini.*Works.*••••1234.*from the \.env file.*Last used never/);
  expect(gemini).toHaveAttribute('href', '/keys/gemini');
  expect(openai).toHaveTextContent(/OpenAI.*Works, limited.*••••9876/);
});

test('what is needed and missing comes first, and other providers can be added', async () => {
  server.use(...standardAnswers({ keys: [storedKey('openai')], missing: ['gemini'] }));
  renderPage(<KeysView />);
  const missing = await screen.findByRole('region', { name: 'Needed, and not there' });
  expect(within(missing).getByRole('link')).toHaveAttribute('href', '/keys/gemini');
  const others = screen.getByRole('region', { name: 'Add another key' });
  const names = within(others).getAllByRole('link');
  expect(names.map((link) => link.getAttribute('href'))).toEqual([
    '/keys/exa',
    '/keys/copilotkit',
    '/keys/anthropic',
  ]);
});

test('without any key it leads to the setup', async () => {
  server.use(...standardAnswers());
  renderPage(<KeysView />);
  expect(await screen.findByRole('link', { name: 'Set up your keys' })).toHaveAttribute(
    'href',
    '/onboarding',
  );
});

test('keys that cannot be listed say why, and can be asked for again', async () => {
  const answers = [
    () => problem(403, 'user_suspended', 'You are suspended. Ask the operator.'),
    () => HttpResponse.json({ keys: [storedKey('gemini')], missing: [] }),
  ];
  server.use(
    http.get(api('/keys'), () => answers.shift()?.()),
    ...standardAnswers(),
  );
  const { user } = renderPage(<KeysView />);
  expect(await screen.findByText('You are suspended. Ask the operator.')).toBeVisible();
  await user.click(screen.getByRole('button', { name: 'Try again' }));
  expect(await screen.findByRole('list', { name: 'Keys that are there' })).toBeVisible();
});
