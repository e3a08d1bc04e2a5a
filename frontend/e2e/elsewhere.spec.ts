// The page alone, on another origin than Keyfold.
import { type Elsewhere, startElsewhere } from './support/elsewhere';
import { freePort, type Production, startProduction } from './support/servers';
import { generate, goTo, saveKeys } from './support/steps';
import { test as base, enterAtIssuer, expect, expectSignedIn } from './support/test';

const test = base.extend<{ apart: { page: Elsewhere; production: Production } }>({
  apart: async ({ standin, watched }, use) => {
    const page = await startElsewhere();
    const port = await freePort();
    const [production] = await Promise.all([
      startProduction(standin, { port, page: page.url }),
      page.build(`http://127.0.0.1:${port}`),
    ]);
    page.allow(production.keyfold.url, production.issuer.url);
    watched.issuer = production.issuer.url;
    await use({ page, production });
    await watched.check();
    await production.stop();
    await page.stop();
  },
});

test.use({ expectedInConsole: [/status of 401/] });

test('served elsewhere, the page signs in and works with a Keyfold on another origin', async ({
  page,
  apart,
  watched,
}) => {
  const { issuer, standin } = apart.production;
  const key = watched.typed(standin.keys.gemini);
  await page.clock.install();
  await page.goto(`${apart.page.url}/keys`);
  await page.getByRole('button', { name: /Continue with/ }).click();
  await enterAtIssuer(page, 'anna');
  await expect(page).toHaveURL(`${apart.page.url}/keys`);
  await expectSignedIn(page);
  await goTo(page, 'Set up');
  await saveKeys(page, { GEMINI_API_KEY: key });
  await generate(page);
  await page.reload();
  await expectSignedIn(page);

  // What `vercel.json` says lets a session be renewed in a window beside the page, too.
  await page.getByRole('link', { name: 'Back', exact: true }).click();
  await page.getByLabel('Exa API key').fill('half of a k');
  issuer.endSessions();
  await page.clock.fastForward('11:00');
  await page.getByRole('button', { name: 'Test key' }).last().click();
  await expect(page.getByText('Your session has ended', { exact: true })).toBeVisible();
  issuer.lengthenTokens();
  issuer.letIn();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByText('Your session has ended', { exact: true })).toBeHidden();
  await expect(page.getByLabel('Exa API key')).toHaveValue('half of a k');
});
