import { act, fireEvent, screen, waitFor, within } from '@testing-library/react';
import { HttpResponse, http } from 'msw';
import { type ReactNode, useState } from 'react';
import { expect, test } from 'vitest';
import { readCopilotKitKey } from '@/session/copilotkit-key';
import { api, problem, providers, renderPage, storedKey, testKeys } from '@/test/render';
import { server } from '@/test/server';
import { OnboardingView } from './onboarding-view';

const STEPS = {
  keyfold: { titles: ['API keys', 'Try it', 'Done'], optional: [2] },
  alwrity: { titles: ['API Keys', 'Website Analysis', 'AI Research', 'Personalization'], optional: [3] },
};

/** Plays Keyfold: what was saved and settled is there at the next request. */
function keyfold({ preset = 'keyfold' as keyof typeof STEPS, keys = [] as object[] } = {}) {
  const { titles, optional } = STEPS[preset];
  const state = {
    keys: [...keys] as { provider?: string }[],
    settled: new Map<number, string>(),
    isOver: false,
    requests: [] as string[],
    /** What saving a provider's key answers instead. */
    refusals: new Map<string, () => Response>(),
  };
  const current = () => titles.findIndex((_, place) => !state.settled.has(place + 1)) + 1 || titles.length;
  const settle = (number: number, status: string) => {
    state.requests.push(`${status} ${number}`);
    state.settled.set(number, status);
    return HttpResponse.json({ message: '', step_number: number });
  };
  server.use(
    http.get(api('/providers'), () => HttpResponse.json({ providers })),
    http.get(api('/keys'), () => HttpResponse.json({ keys: state.keys, missing: [] })),
    http.put(api('/keys/:provider'), ({ params }) => {
      const id = String(params.provider);
      state.requests.push(`save ${id}`);
      const refusal = state.refusals.get(id);
      if (refusal) return refusal();
      const saved = storedKey(id, { files: ['/home/ann/app/.env'] });
      state.keys = [...state.keys.filter(({ provider }) => provider !== id), saved];
      return HttpResponse.json({ ...saved, warnings: [] }, { status: 201 });
    }),
    http.get(api('/onboarding/config'), () =>
      HttpResponse.json({
        total_steps: titles.length,
        required_steps: [],
        optional_steps: optional,
        step_requirements: {},
      }),
    ),
    http.get(api('/onboarding/progress'), () =>
      HttpResponse.json({
        steps: titles.map((title, place) => ({
          step_number: place + 1,
          title,
          description: `About ${title}`,
          status: state.settled.get(place + 1) ?? (place + 1 === current() ? 'in_progress' : 'pending'),
          validation_errors: [],
        })),
        current_step: current(),
        progress: 0,
        total_steps: titles.length,
        completion_percentage: 0,
        started_at: '2026-11-30T10:00:00Z',
        last_updated: '2026-11-30T10:00:00Z',
        is_completed: state.isOver,
      }),
    ),
    http.post(api('/onboarding/step/:n/complete'), ({ params }) => settle(Number(params.n), 'completed')),
    http.post(api('/onboarding/step/:n/skip'), ({ params }) => settle(Number(params.n), 'skipped')),
    http.post(api('/onboarding/complete'), () => {
      state.isOver = true;
      for (const place of titles.keys()) state.settled.set(place + 1, 'completed');
      state.requests.push('finish');
      return HttpResponse.json({ message: '' });
    }),
  );
  return state;
}

const field = (name: string) => screen.findByLabelText(`${name} API key`);

function paste(input: HTMLElement, text: string) {
  fireEvent.paste(input, { clipboardData: { getData: () => text } });
}

async function typeInto(input: HTMLElement, text: string) {
  fireEvent.change(input, { target: { value: text } });
}

test('one button saves every filled card, and the next step follows', async () => {
  const state = keyfold();
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await typeInto(await field('Google Gemini'), testKeys.gemini);
  await typeInto(await field('Exa'), testKeys.exa);
  await user.click(await screen.findByRole('button', { name: 'Save and continue' }));
  expect(await screen.findByRole('heading', { name: 'See it work' })).toBeVisible();
  expect(state.requests).toEqual(['save gemini', 'save exa', 'completed 1']);
  expect(await screen.findByText(/Your 2 keys are saved/)).toBeVisible();
  expect(screen.getAllByText(/Written to \/home\/ann\/app\/\.env/)).toHaveLength(2);
});

test('what was refused stays typed and takes the focus; what was saved shows masked', async () => {
  const state = keyfold();
  state.refusals.set('gemini', () => problem(422, 'key_rejected', 'Google Gemini refused this key.'));
  const { user, container } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await typeInto(await field('Exa'), testKeys.exa);
  await typeInto(await field('Google Gemini'), testKeys.gemini);
  await user.click(await screen.findByRole('button', { name: 'Save and continue' }));
  expect(await screen.findByText('Google Gemini refused this key.')).toBeVisible();
  expect(await field('Google Gemini')).toHaveValue(testKeys.gemini);
  expect(await field('Google Gemini')).toHaveFocus();
  expect(screen.getByText('••••1234')).toBeVisible();
  expect(screen.queryByLabelText('Exa API key')).toBeNull();
  expect(container.innerHTML).not.toContain(testKeys.exa);
  expect(state.requests).not.toContain('completed 1');

  state.refusals.clear();
  await user.click(await screen.findByRole('button', { name: 'Save and continue' }));
  expect(await screen.findByRole('heading', { name: 'See it work' })).toBeVisible();
  expect(state.requests.filter((request) => request === 'save exa')).toHaveLength(1);
});

test('a session that ends in the middle loses nothing that was typed', async () => {
  const state = keyfold();
  state.refusals.set('gemini', () => problem(401, 'unauthenticated', 'Sign in again.'));
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await typeInto(await field('Google Gemini'), testKeys.gemini);
  await user.click(await screen.findByRole('button', { name: 'Save and continue' }));
  expect(await screen.findByText('This page is not let in any more.')).toBeVisible();
  expect(await field('Google Gemini')).toHaveValue(testKeys.gemini);
});

test('a network that is gone loses nothing that was typed', async () => {
  const state = keyfold();
  state.refusals.set('gemini', () => HttpResponse.error() as Response);
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await typeInto(await field('Google Gemini'), testKeys.gemini);
  await user.click(await screen.findByRole('button', { name: 'Save and continue' }));
  expect(await screen.findByText('Keyfold did not answer.')).toBeVisible();
  expect(await field('Google Gemini')).toHaveValue(testKeys.gemini);
});

test('without a key that is needed nothing is asked, and its field takes the focus', async () => {
  const state = keyfold();
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await field('Google Gemini');
  await user.click(await screen.findByRole('button', { name: 'Save and continue' }));
  expect(await screen.findByText('Google Gemini is needed to go on.')).toBeVisible();
  expect(await field('Google Gemini')).toHaveFocus();
  expect(state.requests).toEqual([]);
});

test('a pasted .env block goes to its cards, also to those that were not shown', async () => {
  keyfold();
  renderPage(<OnboardingView />, { path: '/onboarding' });
  const block = `EXA_API_KEY="${testKeys.exa}"\r\nOPENAI_API_KEY=${testKeys.openai}\r\nSECRET_OF_OURS=hunter2\r\n`;
  paste(await field('Google Gemini'), block);
  expect(await field('Exa')).toHaveValue(testKeys.exa);
  expect(await field('OpenAI')).toHaveValue(testKeys.openai);
  expect(await field('Google Gemini')).toHaveValue('');
  const notice = (await screen.findByText('2 keys found in what you pasted')).closest('[role="status"]');
  expect(notice).toHaveTextContent('Not recognised: SECRET_OF_OURS');
  expect(document.body).not.toHaveTextContent('hunter2');
});

test('a key that is another provider’s can be moved to its card', async () => {
  keyfold();
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await typeInto(await field('Google Gemini'), testKeys.anthropic);
  expect(screen.getByText('This looks like an Anthropic key, not like a Google Gemini key.')).toBeVisible();
  await user.click(screen.getByRole('button', { name: 'Move it to Anthropic' }));
  expect(await field('Anthropic')).toHaveValue(testKeys.anthropic);
  expect(await field('Google Gemini')).toHaveValue('');
});

test('what the provider says of a tested key is not said of another one', async () => {
  keyfold();
  server.use(
    http.post(api('/keys/gemini/validate'), () =>
      HttpResponse.json({ valid: false, status: 'rejected', detail: 'Google Gemini refuses this key.' }),
    ),
  );
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await typeInto(await field('Google Gemini'), testKeys.gemini);
  await user.click(screen.getByRole('button', { name: 'Test key for Google Gemini' }));
  expect(await screen.findByText('The provider refuses this key.')).toBeVisible();
  await typeInto(await field('Google Gemini'), `${testKeys.gemini}1`);
  expect(screen.queryByText('The provider refuses this key.')).toBeNull();
});

test('CopilotKit’s key is kept in the browser once it is saved', async () => {
  keyfold({ keys: [storedKey('gemini')] });
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  paste(await field('Exa'), `COPILOTKIT_API_KEY=${testKeys.copilotkit}`);
  await user.click(await screen.findByRole('button', { name: 'Save and continue' }));
  await screen.findByRole('heading', { name: 'See it work' });
  expect(readCopilotKitKey('local')).toBe(testKeys.copilotkit);
});

test('the way back leads to the step before, and an address without a step follows the server', async () => {
  const state = keyfold({ keys: [storedKey('gemini')] });
  state.settled.set(1, 'completed');
  const { user, history } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await screen.findByRole('heading', { name: 'See it work' });
  await user.click(screen.getByRole('link', { name: 'Back' }));
  expect(await screen.findByRole('heading', { name: 'Needed' })).toBeVisible();
  expect(history?.at(-1)).toBe('/onboarding?step=1');
  await user.click(screen.getByRole('button', { name: 'Continue' }));
  expect(await screen.findByRole('heading', { name: 'See it work' })).toBeVisible();
  expect(history?.at(-1)).toBe('/onboarding');
});

test('a step that is not open yet is not shown, whatever the address says', async () => {
  keyfold();
  renderPage(<OnboardingView />, { path: '/onboarding?step=3' });
  expect(await screen.findByRole('heading', { name: 'Needed' })).toBeVisible();
});

test('another tab that went on takes this one along, unless something is typed here', async () => {
  const state = keyfold({ keys: [storedKey('gemini')] });
  renderPage(<OnboardingView />, { path: '/onboarding' });
  await typeInto(await field('Exa'), testKeys.exa);
  state.settled.set(1, 'completed');
  // The tab is looked at again.
  act(() => void window.dispatchEvent(new Event('visibilitychange')));
  expect(await screen.findByRole('link', { name: '2. Try it, now' })).toBeVisible();
  expect(await field('Exa')).toHaveValue(testKeys.exa);
  await typeInto(await field('Exa'), '');
  expect(await screen.findByRole('heading', { name: 'See it work' })).toBeVisible();
});

test('the end shows what works now', async () => {
  const state = keyfold({ keys: [storedKey('gemini')] });
  state.settled.set(1, 'completed');
  const { user } = renderPage(<OnboardingView />, { path: '/onboarding' });
  await user.click(await screen.findByRole('button', { name: 'Skip and finish' }));
  expect(await screen.findByRole('heading', { name: 'You are set up' })).toBeVisible();
  const works = await screen.findByRole('region', { name: 'What works now' });
  expect(within(works).getByText('Google Gemini')).toBeVisible();
  expect(state.requests).toEqual(['finish']);
});

test('a host application’s steps can be continued, and skipped where that is allowed', async () => {
  const state = keyfold({ preset: 'alwrity', keys: [storedKey('gemini')] });
  state.settled.set(1, 'completed');
  const { user } = renderPage(<OnboardingView />, {
    path: '/onboarding',
    config: { onboarding: 'alwrity' },
  });
  expect(await screen.findByText('About Website Analysis.')).toBeVisible();
  expect(screen.queryByRole('button', { name: 'Skip this step' })).toBeNull();
  await user.click(screen.getByRole('button', { name: 'Continue' }));
  await screen.findByText('About AI Research.');
  await user.click(screen.getByRole('button', { name: 'Skip this step' }));
  expect(await screen.findByRole('heading', { name: 'See it work' })).toBeVisible();
  await waitFor(() => expect(state.requests).toEqual(['completed 2', 'skipped 3']));
});

test('in production it says who pays and who sees the key, and names no file', async () => {
  keyfold();
  renderPage(<OnboardingView />, { path: '/onboarding', config: { mode: 'production', env_files: null } });
  await field('Google Gemini');
  expect((await screen.findAllByText(/You pay your own provider/))[0]).toBeInTheDocument();
  expect(document.body).not.toHaveTextContent('/home/ann/app/.env');
});

/** A view that somebody leaves and comes back to, while the page stays. */
function ComingAndGoing({ view }: { view: ReactNode }) {
  const [isHere, setHere] = useState(true);
  return (
    <>
      <button type="button" onClick={() => setHere(!isHere)}>
        {isHere ? 'leave' : 'come back'}
      </button>
      {isHere && view}
    </>
  );
}

test('what was typed is there after a look at another view, in memory only', async () => {
  keyfold();
  const { user } = renderPage(<ComingAndGoing view={<OnboardingView />} />, { path: '/onboarding' });
  await typeInto(await field('Google Gemini'), testKeys.gemini);
  paste(await field('Google Gemini'), `ANTHROPIC_API_KEY=${testKeys.anthropic}`);
  await field('Anthropic');
  await user.click(screen.getByRole('button', { name: 'leave' }));
  expect(screen.queryByRole('heading')).toBeNull();
  expect(JSON.stringify([{ ...localStorage }, { ...sessionStorage }])).not.toContain('TestData');
  await user.click(screen.getByRole('button', { name: 'come back' }));
  expect(await field('Google Gemini')).toHaveValue(testKeys.gemini);
  // Also one that is not there without a click.
  expect(await field('Anthropic')).toHaveValue(testKeys.anthropic);
});

test('a key that is saved while somebody looks elsewhere is typed nowhere any more', async () => {
  const state = keyfold();
  let answer = () => {};
  const held = new Promise<void>((resolve) => {
    answer = resolve;
  });
  server.use(
    http.put(api('/keys/gemini'), async () => {
      await held;
      const saved = storedKey('gemini');
      state.keys = [saved];
      return HttpResponse.json({ ...saved, warnings: [] });
    }),
  );
  const { user, container, history } = renderPage(<ComingAndGoing view={<OnboardingView />} />, {
    path: '/onboarding',
  });
  await typeInto(await field('Google Gemini'), testKeys.gemini);
  await user.click(screen.getByRole('button', { name: 'Save and continue' }));
  await user.click(screen.getByRole('button', { name: 'leave' }));
  answer();
  await waitFor(() => expect(state.settled.get(1)).toBe('completed'));
  await act(async () => {});
  expect(history).toEqual(['/onboarding']);
  await user.click(screen.getByRole('button', { name: 'come back' }));
  await screen.findByRole('heading', { name: 'See it work' });
  expect(container.innerHTML).not.toContain(testKeys.gemini);
});
