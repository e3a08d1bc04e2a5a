// How the page travels: what may be kept, and what its policy allows.
import { expect, test } from './support/test';

test('the page itself is never kept, its parts for ever, and no script stands in it', async ({
  request,
  local: { keyfold },
}) => {
  for (const path of ['/', '/keys', '/onboarding', '/callback']) {
    const page = await request.get(keyfold.url + path);
    expect(page.headers()['cache-control']).toBe('no-store');
    const policy = page.headers()['content-security-policy'] ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toMatch(/script-src 'self'[^;]*;/);
    expect(policy).not.toMatch(/script-src[^;]*unsafe/);
    const html = await page.text();
    for (const script of html.match(/<script\b[^>]*>/g) ?? []) expect(script).toMatch(/ src="\/[^"]+"/);
    expect(html).not.toMatch(/ on\w+=|<style|style=|javascript:/);
  }
});

test('every part is named by what it holds, and comes packed', async ({
  page,
  request,
  local: { keyfold },
}) => {
  const parts = new Set<string>();
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    if (pathname.startsWith('/assets/')) parts.add(pathname);
  });
  await page.goto(keyfold.url);
  await expect(page.getByLabel('Google Gemini API key')).toBeVisible();
  expect(parts.size).toBeGreaterThan(2);
  for (const part of parts) {
    expect(part).toMatch(/-[\w-]{8}\.(js|css)$/);
    const { headers } = await request
      .get(keyfold.url + part, { headers: { 'accept-encoding': 'br' } })
      .then((response) => ({ headers: response.headers() }));
    expect(headers['cache-control']).toMatch(/max-age=31536000.*immutable/);
    expect(headers['content-encoding']).toBe('br');
    expect(headers['x-content-type-options']).toBe('nosniff');
  }
  const missing = await request.get(`${keyfold.url}/assets/missing-00000000.js`);
  expect(missing.status()).toBe(404);
});
