/** Apart from the other texts: loaded with the views that need them. */
export { results } from './en/results';
