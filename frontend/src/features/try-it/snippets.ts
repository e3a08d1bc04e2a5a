import type { Provider } from '@keyfold/client';

// Code for other people's programs. Each function gives a whole program that runs as it is pasted.

/** What of a provider the code depends on. */
export interface Callee {
  id: string;
  /** The provider's address on the gateway. */
  gateway: string;
  model: string | null;
  /** How the provider takes a prompt; null where it does not, or not on the gateway. */
  api: 'gemini' | 'openai' | 'openai_responses' | 'anthropic' | null;
  /** Where that is, below `gateway`. */
  path: string | null;
  /** Where the provider's own libraries put the key. */
  keyHeader: { name: string; prefix: string };
}

export function calleeOf(provider: Provider, gateway: string): Callee {
  const { id, default_model, generate_api, generate_path, gateway_path, key_header } = provider;
  return {
    id,
    gateway,
    model: default_model ?? null,
    api: isKnownApi(generate_api) ? generate_api : null,
    path: generate_path ? generate_path.slice(gateway_path.length) : null,
    keyHeader: key_header,
  };
}

function isKnownApi(api: unknown): api is NonNullable<Callee['api']> {
  return ['gemini', 'openai', 'openai_responses', 'anthropic'].includes(String(api));
}

export const LANGUAGES = ['curl', 'python', 'typescript', 'rust'] as const;
export type Language = (typeof LANGUAGES)[number];
export type Snippets = Record<Language, string>;

const PROMPT = 'Say hello in one sentence.';
const QUERY = 'How do tides work?';

/** A request in the provider's own words. */
interface Request {
  method: 'GET' | 'POST';
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/** null for a provider of which nothing is known but its address. `credential` is null where none is needed. */
export function snippetsOf(callee: Callee, credential: string | null): Snippets | null {
  const request = requestOf(callee);
  if (!request) return null;
  return {
    curl: curl(callee, request, credential),
    python: python(callee, request, credential),
    typescript: typescript(callee, request, credential),
    rust: rust(callee, request, credential),
  };
}

function requestOf({ id, api, path, model }: Callee): Request | null {
  const messages = [{ role: 'user', content: PROMPT }];
  if (api !== null && path !== null && model !== null) {
    switch (api) {
      case 'gemini':
        return {
          method: 'POST',
          path: `${path}/${model}:generateContent`,
          body: { contents: [{ parts: [{ text: PROMPT }] }] },
        };
      case 'anthropic':
        return {
          method: 'POST',
          path,
          body: { model, max_tokens: 1024, messages },
          headers: { 'anthropic-version': '2023-06-01' },
        };
      case 'openai_responses':
        return { method: 'POST', path, body: { model, input: PROMPT } };
      case 'openai':
        return { method: 'POST', path, body: { model, messages } };
    }
  }
  switch (id) {
    case 'cohere':
      return { method: 'POST', path: '/v2/chat', body: { model: model ?? 'command-a-03-2025', messages } };
    case 'exa':
      return { method: 'POST', path: '/search', body: { query: QUERY, numResults: 3 } };
    case 'tavily':
      return { method: 'POST', path: '/search', body: { query: QUERY, max_results: 3 } };
    case 'serper':
      return { method: 'POST', path: '/search', body: { q: QUERY } };
    case 'firecrawl':
      return {
        method: 'POST',
        path: '/v2/scrape',
        body: { url: 'https://example.com', formats: ['markdown'] },
      };
    case 'stability':
      return { method: 'GET', path: '/v1/user/balance' };
    case 'elevenlabs':
      return { method: 'GET', path: '/v1/user' };
    case 'huggingface':
      return { method: 'GET', path: '/api/whoami-v2' };
    default:
      return null;
  }
}

function headersOf({ keyHeader }: Callee, request: Request, credential: string | null): [string, string][] {
  const own: [string, string][] =
    credential === null ? [] : [[keyHeader.name, keyHeader.prefix + credential]];
  const type: [string, string][] = request.body ? [['Content-Type', 'application/json']] : [];
  return [...own, ...type, ...Object.entries(request.headers ?? {})];
}

function curl(callee: Callee, request: Request, credential: string | null): string {
  const parts = [
    `curl ${inShell(callee.gateway + request.path)}`,
    ...headersOf(callee, request, credential).map(([name, value]) => `-H ${inShell(`${name}: ${value}`)}`),
    ...(request.body ? [`-d ${inShell(JSON.stringify(request.body))}`] : []),
  ];
  return parts.join(' \\\n  ');
}

/** For libraries, which want some word where none is needed. */
const orAnyWord = (credential: string | null) => text(credential ?? 'local');

function python(callee: Callee, request: Request, credential: string | null): string {
  const { id, api, path, gateway } = callee;
  const key = orAnyWord(credential);
  const model = text(callee.model ?? '');
  if (path !== null) {
    switch (api) {
      case 'gemini':
        return lines(
          '# pip install google-genai',
          'from google import genai',
          '',
          'client = genai.Client(',
          `    api_key=${key},`,
          `    http_options={"base_url": ${text(gateway)}},`,
          ')',
          'answer = client.models.generate_content(',
          `    model=${model},`,
          `    contents=${text(PROMPT)},`,
          ')',
          'print(answer.text)',
        );
      case 'anthropic':
        return lines(
          '# pip install anthropic',
          'from anthropic import Anthropic',
          '',
          `client = Anthropic(api_key=${key}, base_url=${text(gateway)})`,
          'answer = client.messages.create(',
          `    model=${model},`,
          '    max_tokens=1024,',
          `    messages=[{"role": "user", "content": ${text(PROMPT)}}],`,
          ')',
          'print(answer.content[0].text)',
        );
      case 'openai_responses':
        return lines(
          '# pip install openai',
          'from openai import OpenAI',
          '',
          `client = OpenAI(api_key=${key}, base_url=${text(openAiBase(gateway, path))})`,
          `answer = client.responses.create(model=${model}, input=${text(PROMPT)})`,
          'print(answer.output_text)',
        );
      case 'openai':
        return lines(
          '# pip install openai',
          'from openai import OpenAI',
          '',
          `client = OpenAI(api_key=${key}, base_url=${text(openAiBase(gateway, path))})`,
          'answer = client.chat.completions.create(',
          `    model=${model},`,
          `    messages=[{"role": "user", "content": ${text(PROMPT)}}],`,
          ')',
          'print(answer.choices[0].message.content)',
        );
    }
  }
  if (id === 'exa') {
    return lines(
      '# pip install exa-py',
      'from exa_py import Exa',
      '',
      `exa = Exa(api_key=${key}, base_url=${text(gateway)})`,
      `for result in exa.search(${text(QUERY)}, num_results=3).results:`,
      '    print(result.title, result.url)',
    );
  }
  const headers = headersOf(callee, request, credential).map(
    ([name, value]) => `${text(name)}: ${text(value)}`,
  );
  return lines(
    'import json',
    'import urllib.request',
    '',
    'request = urllib.request.Request(',
    `    ${text(gateway + request.path)},`,
    ...(headers.length > 0 ? [`    headers={${headers.join(', ')}},`] : []),
    ...(request.body ? [`    data=json.dumps(${spaced(request.body)}).encode(),`] : []),
    ')',
    'with urllib.request.urlopen(request) as answer:',
    '    print(json.dumps(json.load(answer), indent=2))',
  );
}

function typescript(callee: Callee, request: Request, credential: string | null): string {
  const { id, api, path, gateway } = callee;
  const key = orAnyWord(credential);
  const model = text(callee.model ?? '');
  if (path !== null) {
    switch (api) {
      case 'gemini':
        return lines(
          '// npm install @google/genai',
          'import { GoogleGenAI } from "@google/genai";',
          '',
          'const client = new GoogleGenAI({',
          `  apiKey: ${key},`,
          `  httpOptions: { baseUrl: ${text(gateway)} },`,
          '});',
          'const answer = await client.models.generateContent({',
          `  model: ${model},`,
          `  contents: ${text(PROMPT)},`,
          '});',
          'console.log(answer.text);',
        );
      case 'anthropic':
        return lines(
          '// npm install @anthropic-ai/sdk',
          'import Anthropic from "@anthropic-ai/sdk";',
          '',
          `const client = new Anthropic({ apiKey: ${key}, baseURL: ${text(gateway)} });`,
          'const answer = await client.messages.create({',
          `  model: ${model},`,
          '  max_tokens: 1024,',
          `  messages: [{ role: "user", content: ${text(PROMPT)} }],`,
          '});',
          'console.log(answer.content);',
        );
      case 'openai_responses':
        return lines(
          '// npm install openai',
          'import OpenAI from "openai";',
          '',
          `const client = new OpenAI({ apiKey: ${key}, baseURL: ${text(openAiBase(gateway, path))} });`,
          `const answer = await client.responses.create({ model: ${model}, input: ${text(PROMPT)} });`,
          'console.log(answer.output_text);',
        );
      case 'openai':
        return lines(
          '// npm install openai',
          'import OpenAI from "openai";',
          '',
          `const client = new OpenAI({ apiKey: ${key}, baseURL: ${text(openAiBase(gateway, path))} });`,
          'const answer = await client.chat.completions.create({',
          `  model: ${model},`,
          `  messages: [{ role: "user", content: ${text(PROMPT)} }],`,
          '});',
          'console.log(answer.choices[0]?.message.content);',
        );
    }
  }
  if (id === 'exa') {
    return lines(
      '// npm install exa-js',
      'import { Exa } from "exa-js";',
      '',
      `const exa = new Exa(${key}, ${text(gateway)});`,
      `const { results } = await exa.search(${text(QUERY)}, { numResults: 3 });`,
      'for (const { title, url } of results) console.log(title, url);',
    );
  }
  const headers = headersOf(callee, request, credential).map(
    ([name, value]) => `${text(name)}: ${text(value)}`,
  );
  return lines(
    `const answer = await fetch(${text(gateway + request.path)}, {`,
    `  method: ${text(request.method)},`,
    ...(headers.length > 0 ? [`  headers: { ${headers.join(', ')} },`] : []),
    ...(request.body ? [`  body: JSON.stringify(${spaced(request.body)}),`] : []),
    '});',
    'console.log(await answer.json());',
  );
}

function rust(callee: Callee, request: Request, credential: string | null): string {
  const headers = headersOf(callee, { ...request, body: undefined }, credential).map(
    ([name, value]) => `        .header(${text(name)}, ${text(value)})`,
  );
  return lines(
    '// cargo add reqwest --features blocking,json',
    '// cargo add serde_json',
    'use serde_json::{Value, json};',
    '',
    'fn main() -> Result<(), reqwest::Error> {',
    '    let answer: Value = reqwest::blocking::Client::new()',
    `        .${request.method.toLowerCase()}(${text(callee.gateway + request.path)})`,
    ...headers,
    ...(request.body ? [`        .json(&json!(${spaced(request.body)}))`] : []),
    '        .send()?',
    '        .json()?;',
    '    println!("{answer:#}");',
    '    Ok(())',
    '}',
  ).replace('{Value, json}', request.body ? '{Value, json}' : 'Value');
}

/** What OpenAI's libraries append their own paths to. */
function openAiBase(gateway: string, path: string): string {
  return gateway + path.replace(/\/(chat\/completions|responses)$/, '');
}

/** A string in Python, TypeScript and Rust alike: no control character is in any of these. */
function text(value: string): string {
  return JSON.stringify(value);
}

/** The same in Python, TypeScript and serde_json's macro, since there is nothing but texts, numbers and lists in it. */
function spaced(body: unknown): string {
  if (Array.isArray(body)) return `[${body.map(spaced).join(', ')}]`;
  if (typeof body !== 'object' || body === null) return JSON.stringify(body);
  const members = Object.entries(body).map(([name, value]) => `${text(name)}: ${spaced(value)}`);
  return `{${members.join(', ')}}`;
}

function inShell(word: string): string {
  return /^[\w:/.@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function lines(...all: string[]): string {
  return all.join('\n');
}
