import { account } from './en/account';
import { activity } from './en/activity';
import { assistant } from './en/assistant';
import { common } from './en/common';
import { keyParts } from './en/key-parts';
import { keys } from './en/keys';
import { onboarding } from './en/onboarding';
import { results } from './en/results';
import { signIn } from './en/sign-in';
import { tryIt } from './en/try-it';

/** Every text that people read. Another language is another folder of the same shape. */
export const texts = {
  account,
  activity,
  assistant,
  common,
  keyParts,
  keys,
  onboarding,
  results,
  signIn,
  tryIt,
};
