// A network that is away or slow.
import type { Page } from '@playwright/test';
import { expect, signIn, test } from './support/test';

test.describe('without a network', () => {
  test.use({ expectedInConsole: [/ERR_INTERNET_DISCONNECTED/] });

  test('what was typed stays, and is saved when the network is back', async ({
    page,
    context,
    local: { keyfold, standin },
    watched,
  }) => {
    const key = watched.typed(standin.keys.gemini);
    await page.goto(keyfold.url);
    await page.getByLabel('Google Gemini API key').fill(key);
    await context.setOffline(true);
    await expect(page.getByText(/You are offline. What you typed stays here/)).toBeVisible();
    await page.getByRole('button', { name: 'Save and continue' }).click();
    await expect(page.getByText('Keyfold did not answer.')).toBeVisible();
    await expect(page.getByLabel('Google Gemini API key')).toHaveValue(key);
    // Once for the page, once for the key.
    await expect(page.getByText(/You are offline/)).toHaveCount(2);
    await context.setOffline(false);
    // Nothing of it is left but what was typed.
    await expect(page.getByText(/You are offline/)).toHaveCount(0);
    await expect(page.getByText('Keyfold did not answer.')).toBeHidden();
    await expect(page.getByText(/One key was not saved/)).toBeHidden();
    await expect(page.getByLabel('Google Gemini API key')).toHaveValue(key);
    await page.getByRole('button', { name: 'Save and continue' }).click();
    await expect(page.getByRole('heading', { name: 'See it work' })).toBeVisible();
  });
});

test.describe('without a server', () => {
  test.use({ expectedInConsole: [/ERR_CONNECTION_REFUSED/] });

  test('the page says so, and tries again when it is told to', async ({ page, local: { keyfold } }) => {
    let isAway = true;
    await page.route('**/api/**', (route) => (isAway ? route.abort('connectionrefused') : route.continue()));
    await page.goto(keyfold.url);
    await expect(
      page.getByText('Keyfold cannot be reached. Check that it runs, then try again.'),
    ).toBeVisible();
    isAway = false;
    await page.getByRole('button', { name: 'Try again' }).click();
    await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
  });
});

test('while the server is slow, places are held, and then nothing jumps', async ({
  page,
  local: { keyfold, standin },
}) => {
  for (const provider of ['gemini', 'exa', 'openai', 'anthropic']) {
    await fetch(`${keyfold.url}/api/keys/${provider}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ key: standin.keys[provider] }),
    });
  }
  const held = await hold(page, /\/api\/(keys|providers)$/);
  await watchShifts(page);
  await page.goto(`${keyfold.url}/keys`);
  await expect(page.getByText('Loading…')).toBeAttached();
  await expect(page.getByRole('heading', { name: 'Your keys' })).toBeVisible();
  held.letGo();
  await expect(page.getByRole('list', { name: 'Keys that are there' })).toBeVisible();
  expect(await shifts(page)).toBeLessThan(0.02);
});

for (const width of [1280, 390]) {
  test(`the first load jumps nowhere at ${width} px`, async ({ page, local: { keyfold } }) => {
    await page.setViewportSize({ width, height: 800 });
    const held = await hold(page, /\/api\/(keys|providers|onboarding)/);
    await watchShifts(page);
    await page.goto(keyfold.url);
    await expect(page.getByText('Loading…')).toBeAttached();
    held.letGo();
    await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
    await expect(page.getByText('What is a key').first()).toBeAttached();
    expect(await shifts(page)).toBeLessThan(0.02);
  });
}

test('the first load of production jumps nowhere', async ({ page, production }) => {
  await watchShifts(page);
  await page.goto(production.keyfold.url);
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible();
  expect(await shifts(page)).toBeLessThan(0.02);
  await signIn(page, production, 'anna');
  await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
  expect(await shifts(page)).toBeLessThan(0.02);
});

test('an answer that takes its time can be stopped', async ({ page, local: { keyfold, standin } }) => {
  await page.goto(`${keyfold.url}/keys/gemini`);
  await page.getByLabel('Google Gemini API key').fill(standin.keys.gemini ?? '');
  await page.getByRole('button', { name: 'Save key' }).click();
  await expect(page.getByText('Saved. It works.')).toBeVisible();
  await page.goto(`${keyfold.url}/try`);
  // The stand-in never answers this.
  await page.getByLabel('What should it write?').fill('standin:slow');
  await page.getByRole('button', { name: /^Generate/ }).click();
  await expect(page.getByText('Waiting for the first words…')).toBeVisible();
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect(page.getByText('You stopped it.')).toBeVisible();
  await expect(page.getByLabel('What should it write?')).toHaveValue('standin:slow');
});

/** Keeps the answers back until they are let go. */
async function hold(page: Page, address: RegExp): Promise<{ letGo: () => void }> {
  let letGo = () => {};
  const promise = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  await page.route(address, async (route) => {
    await promise;
    await route.continue();
  });
  return { letGo };
}

async function watchShifts(page: Page) {
  await page.addInitScript(() => {
    const seen = { sum: 0 };
    Object.assign(window, { shiftsSeen: seen });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { value, hadRecentInput } = entry as PerformanceEntry & {
          value: number;
          hadRecentInput: boolean;
        };
        if (!hadRecentInput) seen.sum += value;
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
}

/** How much of the view jumped so far, once all is painted. */
function shifts(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const painted = () => new Promise((resolve) => requestAnimationFrame(resolve));
    await painted();
    await painted();
    return (window as unknown as { shiftsSeen: { sum: number } }).shiftsSeen.sum;
  });
}
