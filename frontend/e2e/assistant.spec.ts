// CopilotKit's own assistant, with the user's key. Its cloud is played here, request by request.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, expectAccessible, test } from './support/test';

const CLOUD = 'api.cloud.copilotkit.ai';
// Test data.
const KEY = 'ck_pub_00000000000000000000000000000001';
const OTHER_KEY = 'ck_pub_00000000000000000000000000000002';

test.use({
  allowedHosts: [CLOUD],
  // A library that CopilotKit uses tries whether it may evaluate text, and does without.
  expectedInConsole: [/api\.cloud\.copilotkit\.ai|CopilotKit|503|agent|the policy forbids script-src eval/i],
});

test('the assistant sends the user’s own key, and only after it was opened', async ({ page, local }) => {
  const seen: (string | undefined)[] = [];
  await page.route(`https://${CLOUD}/**`, async (route) => {
    if (route.request().method() !== 'OPTIONS')
      seen.push((await route.request().headerValue('x-copilotcloud-public-api-key')) ?? undefined);
    const headers = { 'access-control-allow-origin': '*', 'access-control-allow-headers': '*' };
    await route.fulfill({ status: 503, headers, json: { error: 'away' } });
  });
  await page.goto(`${local.keyfold.url}/keys/copilotkit`);
  await page.getByLabel('CopilotKit API key').fill(KEY);
  await page.getByRole('button', { name: /^Save/ }).click();
  const opener = page.getByRole('button', { name: 'Open the assistant' });
  await expect(opener).toBeVisible();
  expect(await page.evaluate(() => localStorage.getItem('copilotkit_api_key'))).toBe(KEY);
  expect(await readFile(join(local.keyfold.folder, 'frontend', '.env'), 'utf8')).toContain(KEY);
  expect(seen).toEqual([]);

  await opener.click();
  await expect.poll(() => seen.length).toBeGreaterThan(0);
  expect(new Set(seen)).toEqual(new Set([KEY]));
  // The page goes on without it.
  await expect(page.getByText(/service does not answer/)).toBeVisible();
  await expectAccessible(page);

  // Another part of the host application changes the key.
  seen.length = 0;
  await page.evaluate((key) => {
    localStorage.setItem('copilotkit_api_key', key);
    window.dispatchEvent(new Event('copilotkit-key-updated'));
  }, OTHER_KEY);
  await expect.poll(() => seen.length).toBeGreaterThan(0);
  expect(new Set(seen)).toEqual(new Set([OTHER_KEY]));

  await page.getByRole('button', { name: 'Close the assistant' }).click();
  await expect(page.getByText(/service does not answer/)).toBeHidden();
});
