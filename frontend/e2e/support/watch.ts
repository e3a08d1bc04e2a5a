import { type BrowserContext, type ConsoleMessage, expect, type Page, type Request } from '@playwright/test';

/** What nobody may find in a browser: errors, requests to others, and keys that stay anywhere. */
export class Watch {
  /** Keys that were typed. */
  readonly secrets: string[] = [];
  /** Where people sign in: what happens on those pages is not ours. */
  issuer = 'none';
  readonly #contexts: BrowserContext[] = [];
  readonly #faults: string[] = [];
  readonly #allowedHosts: string[];
  readonly #expectedInConsole: RegExp[];

  constructor(allowedHosts: string[], expectedInConsole: RegExp[]) {
    this.#allowedHosts = allowedHosts;
    this.#expectedInConsole = expectedInConsole;
  }

  over(context: BrowserContext) {
    this.#contexts.push(context);
    // What the page's own policy kept from happening.
    context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
        console.error(`the policy forbids ${violatedDirective} ${blockedURI}`);
      });
    });
    context.on('console', (message) => this.#hear(message));
    context.on('weberror', (error) => this.#faults.push(`script: ${error.error().message}`));
    context.on('request', (request) => this.#see(request));
  }

  /** Makes sure of it, and closes the pages: before their servers go. */
  async check() {
    const pages = this.#contexts.flatMap((context) => context.pages());
    for (const page of pages) {
      if (page.url().startsWith('http') && !page.url().startsWith(this.issuer)) await this.#search(page);
      await page.close();
    }
    expect(this.#faults).toEqual([]);
  }

  /** A key as the stand-in takes it, which may be nowhere once it is saved. */
  typed(key: string | undefined): string {
    if (key === undefined) throw new Error('the stand-in has no such key');
    this.secrets.push(key);
    return key;
  }

  #hear(message: ConsoleMessage) {
    const text = message.text();
    const isAtIssuer = [message.location().url, message.page()?.url()].some((url) =>
      url?.startsWith(this.issuer),
    );
    const isFault = message.type() === 'error' || message.type() === 'warning';
    const isExpected = this.#expectedInConsole.some((pattern) => pattern.test(text));
    if (isFault && !isExpected && !isAtIssuer)
      this.#faults.push(`console: ${text} (${message.location().url})`);
  }

  #see(request: Request) {
    const url = new URL(request.url());
    const from = request.isNavigationRequest() ? '' : request.frame().url();
    const isLocal = ['127.0.0.1', 'localhost', ''].includes(url.hostname);
    const isAllowed = isLocal || this.#allowedHosts.includes(url.hostname) || from.startsWith(this.issuer);
    if (!isAllowed) this.#faults.push(`request to ${url.hostname}`);
    if (this.secrets.some((secret) => url.href.includes(secret)))
      this.#faults.push(`a key in ${url.pathname}`);
  }

  async #search(page: Page) {
    const kept = await everythingKept(page);
    for (const secret of this.secrets) {
      if (kept.includes(secret)) this.#faults.push(`a key is kept at ${page.url()}`);
    }
  }
}

/** All that the browser keeps, and what stands in the page. */
async function everythingKept(page: Page): Promise<string> {
  const cookies = JSON.stringify(await page.context().cookies());
  const inPage = await page.evaluate(async () => {
    // The one key that a browser may keep.
    const { copilotkit_api_key: _, ...local } = { ...localStorage };
    const databases = await indexedDB.databases();
    const fields = [...document.querySelectorAll<HTMLInputElement>('input, textarea')];
    const values = fields.map((field) => field.value);
    const { outerHTML } = document.documentElement;
    return JSON.stringify([local, { ...sessionStorage }, databases, values, outerHTML]);
  });
  return cookies + inPage + page.url();
}
