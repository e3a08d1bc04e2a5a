/** Apart from the other texts: loaded with the views that need them. */
export { assistant } from './en/assistant';
