import { screen } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { expect, test } from 'vitest';
import { api, problem, renderPage } from '@/test/render';
import { server } from '@/test/server';
import { ResearchResults, useResearch } from './research-results';

function Searching() {
  const research = useResearch();
  return (
    <>
      <button type="button" onClick={() => research.start({ query: 'tides', num_results: 3 })}>
        Search
      </button>
      <ResearchResults research={research} />
    </>
  );
}

async function search(results: object[]) {
  server.use(http.post(api('/research'), () => HttpResponse.json({ results })));
  const { user } = renderPage(<Searching />);
  await user.click(screen.getByRole('button', { name: 'Search' }));
}

test('a result tells where it leads, from when it is and what it says', async () => {
  await search([
    {
      title: 'Tides explained',
      url: 'https://sea.example/tides?page=1',
      publishedDate: '2026-01-02T00:00:00.000Z',
      highlights: ['The moon pulls.'],
    },
  ]);
  const link = await screen.findByRole('link', { name: /Tides explained/ });
  expect(link).toHaveAttribute('href', 'https://sea.example/tides?page=1');
  expect(link).toHaveAttribute('rel', 'noreferrer noopener');
  expect(screen.getByText('sea.example')).toBeInTheDocument();
  expect(screen.getByText(/Jan 2, 2026/)).toBeInTheDocument();
  expect(screen.getByText('The moon pulls.')).toBeInTheDocument();
  expect(screen.getByRole('status')).toHaveTextContent('One result');
});

test('what is no web page is shown, and not linked', async () => {
  const addresses = ['javascript:alert(1)', 'data:text/html,hello', 'file:///etc/passwd', 'no address'];
  await search(addresses.map((url) => ({ title: `Title of ${url}`, url, publishedDate: 'no date' })));
  expect(await screen.findByText('Title of javascript:alert(1)')).toBeInTheDocument();
  expect(screen.queryByRole('link')).not.toBeInTheDocument();
});

test('nothing found is said', async () => {
  await search([]);
  expect(await screen.findByText('Nothing was found. Ask in other words.')).toBeInTheDocument();
});

test('a missing key is linked', async () => {
  server.use(
    http.post(api('/research'), () =>
      problem(404, 'no_api_key', 'You have no Exa key.', { provider: 'exa' }),
    ),
  );
  const { user } = renderPage(<Searching />);
  await user.click(screen.getByRole('button', { name: 'Search' }));
  expect(await screen.findByRole('alert')).toHaveTextContent('You have no Exa key.');
  expect(screen.getByRole('link', { name: 'Go to the key' })).toHaveAttribute('href', '/keys/exa');
});

test('results of a shape that nobody knows take nothing else with them', async () => {
  const odd = [null, 'text', { title: { html: '<b>' }, url: { href: 'javascript:alert(1)' } }, { url: 7 }];
  await search([...odd, { title: 'Tides explained', url: 'https://sea.example/' }] as object[]);
  expect(await screen.findByRole('link', { name: /Tides explained/ })).toBeInTheDocument();
  expect(screen.getAllByRole('link')).toHaveLength(1);
});
