// All that is needed once somebody types a key, and not before: in one file, see `typing.ts`.
export { sortBlock } from './env-block';
export { outcomeOfError, outcomeOfSaved, outcomeOfVerdict } from './key-outcome';
export { TypedHint } from './typed-hint';
