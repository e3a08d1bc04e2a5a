/** What calls come to, wherever it is shown. */
export const results = {
  answer: 'Answer',
  waiting: 'Waiting for the first words…',
  answering: 'The answer is being written.',
  stop: 'Stop',
  stopped: 'You stopped it. What came before stays here.',
  empty: 'The model answered with no text. Ask in other words, or try another model.',
  cutTitle: 'This answer is not complete',
  tokens: (input: number | null, output: number | null) =>
    input === null && output === null
      ? 'The provider did not say how many tokens it used.'
      : `${count(input)} in, ${count(output)} out`,
  copyAnswer: 'Copy the answer',
  toKey: 'Go to the key',
  found: (results: number) =>
    results === 1 ? 'One result' : `${new Intl.NumberFormat().format(results)} results`,
  none: 'Nothing was found. Ask in other words.',
  untitled: 'Without a title',
};

function count(tokens: number | null): string {
  if (tokens === null) return 'unknown tokens';
  return `${new Intl.NumberFormat().format(tokens)} ${tokens === 1 ? 'token' : 'tokens'}`;
}
