import { screen } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { expect, test } from 'vitest';
import { api, renderPage, standardAnswers, storedKey } from '@/test/render';
import { server } from '@/test/server';
import { openStream } from '@/test/stream';
import { TryItView } from './try-it-view';

const noUsage = http.get(api('/usage'), () => HttpResponse.json({ usage: [] }));

test('without a key that writes text, the way leads to the keys', async () => {
  server.use(...standardAnswers({ keys: [storedKey('exa')] }));
  renderPage(<TryItView />, { path: '/try' });
  expect(await screen.findByText('No key that writes text yet')).toBeInTheDocument();
  expect(screen.getByRole('link', { name: 'Add a key' })).toHaveAttribute('href', '/keys');
});

test('a prompt goes to the chosen provider and model, also by Ctrl and Enter', async () => {
  const stream = openStream();
  const asked: unknown[] = [];
  server.use(
    ...standardAnswers({ keys: [storedKey('openai'), storedKey('gemini')] }),
    noUsage,
    http.post(api('/generate'), async ({ request }) => {
      asked.push(await request.json());
      return stream.answer({ request });
    }),
  );
  const { user } = renderPage(<TryItView />, { path: '/try' });
  const prompt = await screen.findByLabelText('What should it write?');
  expect(screen.getByLabelText('Provider')).toHaveValue('gemini');
  await user.selectOptions(screen.getByLabelText('Provider'), 'OpenAI');
  await user.type(screen.getByLabelText('Model'), 'gpt-test');
  await user.type(prompt, 'Hello{Control>}{Enter}{/Control}');
  stream.delta('Good morning');
  expect(await screen.findByText('Good morning')).toBeInTheDocument();
  expect(asked).toEqual([{ prompt: 'Hello', provider: 'openai', model: 'gpt-test', stream: true }]);
});

test('nothing is sent without a prompt, and the field says why', async () => {
  server.use(...standardAnswers({ keys: [storedKey('gemini')] }), noUsage);
  const { user } = renderPage(<TryItView />, { path: '/try' });
  await user.click(await screen.findByRole('button', { name: 'Generate' }));
  expect(await screen.findByText('Write a prompt first.')).toBeInTheDocument();
  expect(screen.getByLabelText('What should it write?')).toHaveFocus();
});

test('models that were called before are suggested', async () => {
  const day = { day: '2026-11-30', errors: 0, input_tokens: 1, output_tokens: 1, unknown: 0 };
  const models = [
    { ...day, model: 'gemini-used', requests: 2 },
    { ...day, model: 'gemini-failed', requests: 1, errors: 1 },
  ];
  server.use(
    ...standardAnswers({ keys: [storedKey('gemini')] }),
    http.get(api('/usage'), () =>
      HttpResponse.json({ usage: [{ ...day, provider: 'gemini', requests: 3, models }] }),
    ),
  );
  const { container } = renderPage(<TryItView />, { path: '/try' });
  await screen.findByLabelText('Model');
  await expect
    .poll(() =>
      [...container.querySelectorAll('datalist option')].map((option) => option.getAttribute('value')),
    )
    .toEqual(['gemini-flash-latest', 'gemini-used']);
});

test('the tabs are moved through by the arrow keys, and the address says which one is open', async () => {
  server.use(...standardAnswers({ keys: [storedKey('exa')] }));
  const { user, history } = renderPage(<TryItView />, { path: '/try' });
  await screen.findByText('No key that writes text yet');
  await user.click(screen.getByRole('tab', { name: 'Generate' }));
  await user.keyboard('{ArrowRight}');
  expect(await screen.findByLabelText('What do you want to find?')).toBeInTheDocument();
  expect(screen.getByRole('tab', { name: 'Research' })).toHaveAttribute('aria-selected', 'true');
  expect(history.at(-1)).toBe('/try?part=research');
});
