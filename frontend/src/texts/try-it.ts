/** Apart from the other texts: loaded with the views that need them. */
export { tryIt } from './en/try-it';
