/** Apart from the other texts: loaded with the views that need them. */
export { account } from './en/account';
