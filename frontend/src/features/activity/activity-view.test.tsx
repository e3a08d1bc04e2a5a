import { screen, within } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { expect, test } from 'vitest';
import { api, problem, renderPage, standardAnswers } from '@/test/render';
import { server } from '@/test/server';
import { ActivityView } from './activity-view';

const event = (id: number, fields: object = {}) => ({
  id,
  at: '2026-11-30T12:00:00Z',
  action: 'key.saved',
  actor: 'user',
  provider: 'gemini',
  outcome: 'ok',
  request_id: `request-${id}`,
  address: '203.0.113.7',
  ...fields,
});

/** Keyfold with these pages of events, and what it was asked for. */
function keyfoldWith(
  pages: Record<string, { events: object[]; next_cursor: string | null }>,
  usage: object[] = [],
) {
  const asked: string[] = [];
  server.use(
    ...standardAnswers(),
    http.get(api('/usage'), ({ request }) => {
      asked.push(`usage ${new URL(request.url).search}`);
      return HttpResponse.json({ usage });
    }),
    http.get(api('/audit'), ({ request }) => {
      const { search, searchParams } = new URL(request.url);
      asked.push(`audit ${search}`);
      return HttpResponse.json(pages[searchParams.get('cursor') ?? '']);
    }),
  );
  return asked;
}

test('events are told in words, with the rest on a click', async () => {
  keyfoldWith({ '': { events: [event(1, { provider_status: 200 })], next_cursor: null } });
  const { user } = renderPage(<ActivityView />, { path: '/activity' });
  await user.click(await screen.findByText('Google Gemini key saved'));
  expect(screen.getByText('request-1')).toBeVisible();
  expect(screen.getByText('203.0.113.7')).toBeVisible();
  expect(screen.getByText('key.saved ok')).toBeVisible();
});

test('the next page follows the first', async () => {
  const asked = keyfoldWith({
    '': { events: [event(2)], next_cursor: 'older' },
    older: { events: [event(1, { action: 'key.replaced' })], next_cursor: null },
  });
  const { user } = renderPage(<ActivityView />, { path: '/activity' });
  await user.click(await screen.findByRole('button', { name: 'Show more' }));
  expect(await screen.findByText('Google Gemini key replaced')).toBeInTheDocument();
  expect(screen.getByText('Google Gemini key saved')).toBeInTheDocument();
  expect(await screen.findByText('That is all.')).toBeInTheDocument();
  expect(asked.filter((call) => call.startsWith('audit'))).toEqual([
    'audit ?limit=50',
    'audit ?limit=50&cursor=older',
  ]);
});

test('a filter goes to the address and to the server, and can be taken away again', async () => {
  const asked = keyfoldWith({ '': { events: [], next_cursor: null } });
  const { user, history } = renderPage(<ActivityView />, { path: '/activity?outcome=rejected&days=7' });
  expect(await screen.findByText('Nothing like that')).toBeInTheDocument();
  await user.selectOptions(screen.getByLabelText('Provider'), 'OpenAI');
  await user.selectOptions(screen.getByLabelText('Action'), 'Key checked');
  expect(history.at(-1)).toBe('/activity?provider=openai&action=key.checked&outcome=rejected&days=7');
  await expect
    .poll(() => asked.at(-1))
    .toBe('audit ?limit=50&provider=openai&action=key.checked&outcome=rejected');
  await user.click(screen.getByRole('button', { name: 'Clear the filters' }));
  expect(await screen.findByText('Nothing yet')).toBeInTheDocument();
  expect(history.at(-1)).toBe('/activity?days=7');
});

test('the chart says in words what it shows, and the table has the figures', async () => {
  const day = new Date().toISOString().slice(0, 10);
  const figures = { requests: 1234, errors: 5, input_tokens: 67, output_tokens: 89, unknown: 0, models: [] };
  const asked = keyfoldWith({ '': { events: [], next_cursor: null } }, [
    { day, provider: 'gemini', ...figures },
  ]);
  const { user } = renderPage(<ActivityView />, { path: '/activity' });
  const chart = await screen.findByRole('img', {
    name: /Requests per day in the last 30 days: 1,234 in all/,
  });
  expect(chart).toHaveAccessibleName(/Google Gemini 1,234/);
  const row = within(screen.getByRole('table', { hidden: true })).getAllByRole('row', { hidden: true })[1];
  expect(row).toHaveTextContent(/Google Gemini1,23456789$/);
  await user.click(screen.getByRole('radio', { name: '90 days' }));
  expect(await screen.findByRole('img', { name: /in the last 90 days/ })).toBeInTheDocument();
  expect(asked).toContain('usage ?days=90');
});

test('a log that cannot be read says why', async () => {
  keyfoldWith({});
  server.use(http.get(api('/audit'), () => problem(403, 'forbidden', 'You may not read this.')));
  renderPage(<ActivityView />, { path: '/activity' });
  expect(await screen.findByRole('alert')).toHaveTextContent('You may not read this.');
});
