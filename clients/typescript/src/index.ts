export type * from './client.js';
export { KeyfoldClient } from './client.js';
export type { ClientErrorCode } from './error.js';
export { KeyfoldError } from './error.js';
export type { components, operations, paths } from './schema.js';
export type { CallOptions, KeyfoldOptions, Token } from './transport.js';
