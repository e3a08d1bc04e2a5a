import { setupServer } from 'msw/node';

/** Plays Keyfold for component tests; each test says what it answers. */
export const server = setupServer();
