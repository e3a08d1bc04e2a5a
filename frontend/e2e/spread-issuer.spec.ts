// An issuer that has people sign in, and gives out their tokens, on another host than its own.
import { type Production, startProduction } from './support/servers';
import { goTo } from './support/steps';
import { test as base, enterAtIssuer, expect, expectSignedIn } from './support/test';

const test = base.extend<{ spread: Production }>({
  spread: async ({ standin, watched }, use) => {
    const production = await startProduction(standin, { issuer: { isSpread: true } });
    watched.issuer = production.issuer.endpoints;
    await use(production);
    await watched.check();
    await production.stop();
  },
});

test('an issuer with its endpoints elsewhere signs people in, and renews their session', async ({
  page,
  spread,
}) => {
  const tokens: string[] = [];
  page.on('response', (response) => {
    if (new URL(response.url()).pathname === '/token') tokens.push(new URL(response.url()).origin);
  });
  await page.clock.install();
  await page.goto(`${spread.keyfold.url}/account`);
  await page.getByRole('button', { name: /Continue with/ }).click();
  await enterAtIssuer(page, 'anna');
  await expectSignedIn(page);
  await expect(page).toHaveURL(/\/account$/);
  expect(spread.issuer.endpoints).not.toBe(spread.issuer.url);
  expect(tokens).toEqual([spread.issuer.endpoints]);

  // Without a page of the issuer's: in a hidden frame of this one.
  await page.clock.fastForward('11:00');
  await goTo(page, 'Activity');
  await expect(page.getByText('No calls in this time')).toBeVisible();
  await expect(page.getByText('Your session has ended', { exact: true })).toBeHidden();
  await expect.poll(() => tokens.length).toBeGreaterThan(1);
});
