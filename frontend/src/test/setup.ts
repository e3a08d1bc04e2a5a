import '@testing-library/jest-dom/vitest';
import { cleanup, configure } from '@testing-library/react';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { server } from './server';

// A busy machine is slower than the usual second; what does not come fails all the same.
configure({ asyncUtilTimeout: 10_000 });

// jsdom has nothing to scroll.
window.scrollTo = () => {};

// A request that no test expects fails the test.
beforeAll(() => server.listen({ onUnhandledRequest: 'error' }));
afterEach(() => {
  cleanup();
  server.resetHandlers();
  localStorage.clear();
});
afterAll(() => server.close());
