import { screen, waitFor } from '@testing-library/react';
import { http } from 'msw';
import { expect, test } from 'vitest';
import { api, problem, renderPage } from '@/test/render';
import { server } from '@/test/server';
import { openStream } from '@/test/stream';
import { StreamedAnswer, useGeneration } from './streamed-answer';

function Asking({ provider }: { provider?: string }) {
  const generation = useGeneration();
  return (
    <>
      <button
        type="button"
        onClick={() => generation.start({ prompt: 'Hello', ...(provider ? { provider } : {}) })}
      >
        Ask
      </button>
      <StreamedAnswer generation={generation} />
    </>
  );
}

async function ask(provider?: string) {
  const stream = openStream();
  const asked: unknown[] = [];
  server.use(
    http.post(api('/generate'), async ({ request }) => {
      asked.push(await request.json());
      return stream.answer({ request });
    }),
  );
  const page = renderPage(<Asking {...(provider ? { provider } : {})} />);
  await page.user.click(screen.getByRole('button', { name: 'Ask' }));
  await screen.findByText('Waiting for the first words…');
  return { ...page, stream, asked };
}

test('an answer appears as it comes, and then says what it took', async () => {
  const { stream, asked } = await ask();
  stream.delta('Good ');
  expect(await screen.findByText('Good', { exact: false })).toBeInTheDocument();
  stream.delta('morning');
  expect(await screen.findByText('Good morning')).toBeInTheDocument();
  stream.done(3, 1200);
  expect(await screen.findByText('3 tokens in, 1,200 tokens out')).toBeInTheDocument();
  expect(screen.getByText('gemini-test')).toBeInTheDocument();
  expect(screen.queryByRole('button', { name: 'Stop' })).not.toBeInTheDocument();
  expect(asked).toEqual([{ prompt: 'Hello', stream: true }]);
});

test('it is read out once it is whole, not word by word', async () => {
  const { stream } = await ask();
  stream.delta('Good morning');
  const text = await screen.findByText('Good morning');
  expect(text).toHaveAttribute('aria-busy', 'true');
  stream.done(1, 2);
  await waitFor(() => expect(text).toHaveAttribute('aria-busy', 'false'));
  expect(text).toHaveAttribute('aria-live', 'polite');
});

test('what is stopped ends the call and keeps what came so far', async () => {
  const { stream, user } = await ask();
  stream.delta('Half of it');
  await screen.findByText('Half of it');
  await user.click(screen.getByRole('button', { name: 'Stop' }));
  await stream.left;
  expect(await screen.findByText('You stopped it. What came before stays here.')).toBeInTheDocument();
  expect(screen.getByText('Half of it')).toBeInTheDocument();
  expect(screen.queryByRole('alert')).not.toBeInTheDocument();
  expect(screen.getByRole('region', { name: 'Answer' })).toHaveFocus();
});

test('an answer that breaks off is never shown as if it were whole, and can be asked for again', async () => {
  const { stream, user } = await ask();
  stream.delta('Half of');
  stream.end();
  const alert = await screen.findByRole('alert');
  expect(alert).toHaveTextContent('This answer is not complete');
  expect(alert).toHaveTextContent('The answer broke off before its end.');
  expect(screen.getByText('Half of')).toBeInTheDocument();

  const second = openStream();
  server.use(http.post(api('/generate'), second.answer));
  await user.click(screen.getByRole('button', { name: 'Try again' }));
  second.delta('All of it');
  second.done(1, 3);
  expect(await screen.findByText('1 token in, 3 tokens out')).toBeInTheDocument();
  expect(screen.queryByText('Half of')).not.toBeInTheDocument();
});

test('a problem inside the stream is told in its own words', async () => {
  const { stream } = await ask();
  stream.problem('provider_error', 'Gemini has too much to do. Wait a little.');
  expect(await screen.findByRole('alert')).toHaveTextContent('Gemini has too much to do. Wait a little.');
});

test('where the key is at fault, the way leads to that key and not to another try', async () => {
  const detail = 'OpenAI refused the key. Replace it.';
  server.use(http.post(api('/generate'), () => problem(424, 'key_rejected', detail, { provider: 'openai' })));
  const { user } = renderPage(<Asking provider="openai" />);
  await user.click(screen.getByRole('button', { name: 'Ask' }));
  expect(await screen.findByRole('alert')).toHaveTextContent(detail);
  expect(screen.getByRole('link', { name: 'Go to the key' })).toHaveAttribute('href', '/keys/openai');
  expect(screen.queryByRole('button', { name: 'Try again' })).not.toBeInTheDocument();
});

test('a call ends with the view that made it', async () => {
  const { stream, unmount } = await ask();
  stream.delta('Half of it');
  await screen.findByText('Half of it');
  unmount();
  await stream.left;
});

test('of two calls the later one is shown, and the earlier one ends', async () => {
  const { stream, user } = await ask();
  stream.delta('first');
  await screen.findByText('first');
  const second = openStream();
  server.use(http.post(api('/generate'), second.answer));
  await user.click(screen.getByRole('button', { name: 'Ask' }));
  await stream.left;
  second.delta('second');
  second.done(null, null);
  expect(await screen.findByText('second')).toBeInTheDocument();
  expect(screen.queryByText(/You stopped it/)).not.toBeInTheDocument();
  expect(screen.getByText('The provider did not say how many tokens it used.')).toBeInTheDocument();
});
