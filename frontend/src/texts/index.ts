import { common } from './en/common';
import { keyParts } from './en/key-parts';
import { signIn } from './en/sign-in';

/**
 * Every text that people read, but for those of some views, which are loaded with them. Another language is another
 * folder of the same shape.
 */
export const texts = {
  common,
  keyParts,
  signIn,
};
