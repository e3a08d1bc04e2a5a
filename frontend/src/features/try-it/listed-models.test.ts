import { expect, test } from 'vitest';
import { modelsIn } from './listed-models';

test('the names of models are found in each form of a list', () => {
  expect(modelsIn({ data: [{ id: 'b' }, { id: 'a' }] })).toEqual(['a', 'b']);
  expect(modelsIn([{ id: 'meta/llama' }])).toEqual(['meta/llama']);
  const gemini = {
    models: [
      { name: 'models/gemini-flash', supportedGenerationMethods: ['generateContent'] },
      { name: 'models/embedding', supportedGenerationMethods: ['embedContent'] },
    ],
  };
  expect(modelsIn(gemini)).toEqual(['gemini-flash']);
});

test('what is no list is an error', () => {
  expect(() => modelsIn({ error: 'no' })).toThrow();
  expect(() => modelsIn(null)).toThrow();
});
