/**
 * Every text that people read. Another language is another folder of the same shape. As a namespace, so that each view
 * brings its own texts only.
 */
export * as texts from './all';
