/** Apart from the other texts: loaded with the views that need them. */
export { activity } from './en/activity';
