// Production: two people, signed in through a real OpenID provider.
import { enterAtIssuer, expect, expectAccessible, expectSignedIn, signIn, test } from './support/test';

test('two people sign in, and each sees only their own keys', async ({
  page,
  production,
  anotherBrowser,
  watched,
}) => {
  const key = production.standin.keys.gemini ?? '';
  watched.secrets.push(key);
  await page.goto(production.keyfold.url);
  await expectAccessible(page);
  await signIn(page, production, 'anna');
  await expect(page).toHaveURL(/\/onboarding$/);
  await page.getByLabel('Google Gemini API key').fill(key);
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await page.goto(`${production.keyfold.url}/keys`);
  await expectSignedIn(page);
  await expect(page.getByText(key.slice(-4))).toBeVisible();

  const other = await anotherBrowser();
  await signIn(other, production, 'ben');
  await other.goto(`${production.keyfold.url}/keys`);
  await expect(other.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(other.getByText(key.slice(-4))).toHaveCount(0);
});

test('a reload keeps the session, and signing out ends it in every tab', async ({
  page,
  production,
  context,
}) => {
  await signIn(page, production, 'anna');
  await page.goto(`${production.keyfold.url}/account`);
  await expectSignedIn(page);
  await page.reload();
  await expectSignedIn(page);
  await expect(page).toHaveURL(/\/account$/);
  const tab = await context.newPage();
  await tab.goto(`${production.keyfold.url}/keys`);
  await expectSignedIn(tab);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(tab).toHaveURL(/\/sign-in/);
});

test('where somebody wanted to go is where signing in leads', async ({ page, production }) => {
  await page.goto(`${production.keyfold.url}/activity`);
  await page.getByRole('button', { name: /Continue with/ }).click();
  await enterAtIssuer(page, 'anna');
  await expect(page).toHaveURL(/\/activity$/);
});
