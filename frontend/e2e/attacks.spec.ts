// What an attacker, an unlucky moment or a strange browser does to the page.
import { expect, expectSignedIn, signIn, test } from './support/test';

const EVIL = 'https://evil.example/';

test('signing in leads nowhere but into the page', async ({ page, production }) => {
  const { url } = production.keyfold;
  await signIn(page, production, 'anna');
  for (const to of [
    EVIL,
    '//evil.example/',
    '/\t/evil.example/',
    '/.//evil.example/',
    '/\\evil.example/',
    'javascript:alert(1)',
  ]) {
    await page.goto(`${url}/sign-in?to=${encodeURIComponent(to)}`);
    await expectSignedIn(page);
    await expect(page).toHaveURL(/\/onboarding$/);
  }
});

test('an answer that the issuer did not give to this page signs nobody in', async ({ page, production }) => {
  const { url } = production.keyfold;
  for (const search of ['', '?code=theirs&state=theirs', '?error=access_denied', '?code=theirs']) {
    await page.goto(`${url}/callback${search}`);
    await expect(page).toHaveURL(/\/sign-in\?to=%2F$/);
    await expect(page.getByRole('heading', { level: 1, name: 'Sign in' })).toBeVisible();
    await expect(page.getByRole('alert')).toHaveCount(0);
  }
  // Somebody who is signed in stays so, and stays who they are.
  await signIn(page, production, 'anna');
  await page.goto(`${url}/callback?code=theirs&state=theirs`);
  await expectSignedIn(page);
  await page.goto(`${url}/account`);
  await expect(page.getByText(/^anna.*@example\.com$/).first()).toBeVisible();
});

test('after signing out the back button shows nothing of anybody', async ({ page, production, watched }) => {
  const key = production.standin.keys.gemini ?? '';
  watched.secrets.push(key);
  await signIn(page, production, 'anna');
  await page.goto(`${production.keyfold.url}/keys/gemini`);
  await page.getByLabel('Google Gemini API key').fill(key);
  await page.getByRole('button', { name: 'Save key' }).click();
  await expect(page.getByText(key.slice(-4)).first()).toBeVisible();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page.getByText(key.slice(-4))).toHaveCount(0);
  await page.waitForURL(`${production.issuer.url}/**`);
  await page.goBack();
  await expect(page.getByRole('heading', { level: 1, name: 'Sign in' })).toBeVisible();
  await expect(page.getByText(key.slice(-4))).toHaveCount(0);
});

test.describe('an issuer that does not answer', () => {
  test.use({ expectedInConsole: [/Failed to load|ERR_|CORS|503/] });

  test('is said, and the page does not go round in circles', async ({ page, production }) => {
    const { keyfold, issuer } = production;
    await signIn(page, production, 'anna');
    await page.route(`${issuer.url}/**`, (route) => route.abort());
    let starts = 0;
    page.on('request', (request) => {
      if (request.isNavigationRequest()) starts += 1;
    });
    await page.goto(`${keyfold.url}/keys`);
    await expect(page.getByRole('alert')).toContainText('did not work');
    expect(starts).toBe(1);
    await page.unroute(`${issuer.url}/**`);
    await page.getByRole('button', { name: /Continue with/ }).click();
    await expectSignedIn(page);
    await expect(page).toHaveURL(/\/keys$/);
  });
});

test.describe('a browser that keeps nothing', () => {
  test('is told what signing in needs, and works in local mode', async ({ page, production, local }) => {
    await page.addInitScript(() => {
      for (const name of ['localStorage', 'sessionStorage'])
        Object.defineProperty(window, name, {
          get: () => {
            throw new DOMException('blocked', 'SecurityError');
          },
        });
    });
    await page.goto(production.keyfold.url);
    await expect(page.getByRole('alert')).toContainText('Allow cookies and site data');
    await page.goto(local.keyfold.url);
    await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
    await page.goto('about:blank');
  });
});

test.describe('a part of the page that is gone after an upgrade', () => {
  test.use({ expectedInConsole: [/404|Failed to|error/i] });

  test('takes nothing that was typed with it, and a view says what to do', async ({ page, local }) => {
    const { url } = local.keyfold;
    await page.goto(url);
    const field = page.getByLabel('Google Gemini API key');
    await field.fill('AQ.typed-by-hand');
    await page.route('**/assets/**', (route) => route.fulfill({ status: 404 }));
    await page.getByLabel('Exa API key').focus();
    await page.evaluate(() => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text', 'TAVILY_API_KEY=tvly-TestData0000000000000000\nSOMETHING=else\n');
      document.activeElement?.dispatchEvent(
        new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }),
      );
    });
    await expect(page.getByText('This could not be loaded.')).toBeVisible();
    await expect(field).toHaveValue('AQ.typed-by-hand');
    await field.fill('');
    await page.getByRole('link', { name: 'Activity' }).first().click();
    await expect(page.getByText('This page could not be shown')).toBeVisible();
    await page.unroute('**/assets/**');
    await page.getByRole('button', { name: 'Reload' }).click();
    await expect(page.getByRole('heading', { level: 1, name: 'Activity' })).toBeVisible();
  });
});

test.describe('answers of nobody’s making', () => {
  test.use({ expectedInConsole: [/429/] });

  test('are text, whatever stands in them', async ({ page, local, watched }) => {
    const { url } = local.keyfold;
    const markup = '<img src=x onerror="document.title=\'owned\'">';
    await page.route('**/api/providers', async (route) => {
      const answer = await route.fetch();
      const { providers } = await answer.json();
      Object.assign(
        providers.find(({ id }: { id: string }) => id === 'gemini'),
        { name: markup, setup_url: 'javascript:document.title="owned"', setup_instructions: [markup] },
      );
      await route.fulfill({ json: { providers } });
    });
    await page.route('**/api/keys/*', (route) =>
      route.fulfill({
        status: 429,
        contentType: 'application/problem+json',
        headers: { 'retry-after': '20' },
        body: JSON.stringify({
          status: 429,
          code: 'rate_limited',
          detail: `${markup} Wait 20 seconds.`,
          retry_after: 20,
        }),
      }),
    );
    await page.goto(`${url}/onboarding`);
    const field = page.getByLabel(`${markup} API key`);
    await field.fill(local.standin.keys.gemini ?? '');
    await page.getByRole('button', { name: 'Save and continue' }).click();
    await expect(page.getByText('Wait 20 seconds.').first()).toBeVisible();
    await expect(field).toHaveValue(local.standin.keys.gemini ?? '');
    await field.fill('');
    await expect(page).not.toHaveTitle('owned');
    expect(await page.locator('img[src="x"]').count()).toBe(0);
    watched.secrets.push(local.standin.keys.gemini ?? '');
    for (const odd of ['%E0%A4%A', '%25', '..%2F..%2Fapi', 'constructor', '%3Cscript%3E', 'ge mini']) {
      await page.goto(`${url}/keys/${odd}`);
      await expect(page.getByText('There is no provider of that name')).toBeVisible();
    }
  });
});

test('a megabyte that is pasted neither stops the page nor is lost', async ({ page, local }) => {
  await page.goto(local.keyfold.url);
  const field = page.getByLabel('Google Gemini API key');
  const paste = (text: string) =>
    field.evaluate((input: HTMLInputElement, pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text', pasted);
      const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true });
      return input.dispatchEvent(event);
    }, text);
  // One unclosed quote, and then everything.
  await paste(
    `A_B="${'x'.repeat(500_000)}\n${'Y_Z="\\"\n'.repeat(50_000)}GEMINI_API_KEY=AQ.TestData0000000000000000000000\n`,
  );
  await expect(page.getByText(/found in what you pasted/)).toBeVisible();
  await field.fill('k'.repeat(1_000_000));
  await expect(page.getByText(/Not a form we know/)).toBeVisible();
  await field.fill('');
});

test('a key whose owner signs out elsewhere while it is being saved stays nowhere', async ({
  page,
  production,
  context,
}) => {
  const { url } = production.keyfold;
  await signIn(page, production, 'anna');
  await page.goto(`${url}/keys/copilotkit`);
  await page.getByLabel('CopilotKit API key').fill('ck_pub_00000000000000000000000000000001');
  let goOn = () => {};
  const leftElsewhere = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  await page.route('**/api/keys/copilotkit', async (route) => {
    const answer = await route.fetch();
    await leftElsewhere;
    await route.fulfill({ response: answer });
  });
  const saving = page.waitForRequest('**/api/keys/copilotkit');
  await page.getByRole('button', { name: 'Save key' }).click();
  await saving;
  const tab = await context.newPage();
  await tab.goto(`${url}/account`);
  await tab.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/sign-in/);
  const saved = page.waitForResponse('**/api/keys/copilotkit');
  goOn();
  await (await saved).finished();
  expect(await page.evaluate(() => Object.keys(localStorage))).not.toContain('copilotkit_api_key');
});

test('who deletes a key goes on from what is said of it', async ({ page, local }) => {
  await page.goto(`${local.keyfold.url}/keys/gemini`);
  await page.getByLabel('Google Gemini API key').fill(local.standin.keys.gemini ?? '');
  await page.keyboard.press('Enter');
  await expect(page.locator(':focus')).toContainText('Saved. It works.');
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(page.getByRole('button', { name: 'Delete key' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('button', { name: 'Delete', exact: true })).toBeFocused();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Delete key' }).click();
  await expect(page.locator(':focus')).toContainText('key is deleted');
});
