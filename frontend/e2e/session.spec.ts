// A session that ends while somebody types: nothing is lost.
import { expect, expectSignedIn, signIn, test } from './support/test';

// The server's 401, and the issuer's word that nobody is signed in any more.
test.use({ expectedInConsole: [/401/] });

test('a session that ends in the middle of typing loses nothing', async ({ page, production, watched }) => {
  await page.clock.install();
  await signIn(page, production, 'anna');
  await expect(page).toHaveURL(/\/onboarding$/);
  const key = production.standin.keys.gemini ?? '';
  watched.secrets.push(key);
  await page.getByLabel('Google Gemini API key').fill(key);
  // The token runs out, and the issuer knows nobody any more.
  production.issuer.endSessions();
  await page.clock.fastForward('11:00');
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await expect(page.getByText('Your session has ended', { exact: true })).toBeVisible();
  await expect(page.getByLabel('Google Gemini API key')).toHaveValue(key);

  production.issuer.lengthenTokens();
  production.issuer.letIn();
  // A window beside the page; the issuer still knows the browser, so it closes by itself.
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByText('Your session has ended', { exact: true })).toBeHidden();
  await expect(page.getByLabel('Google Gemini API key')).toHaveValue(key);
  await page.getByRole('button', { name: 'Save and continue' }).click();
  await page.goto(`${production.keyfold.url}/keys`);
  await expectSignedIn(page);
  await expect(page.getByText(key.slice(-4))).toBeVisible();
});
