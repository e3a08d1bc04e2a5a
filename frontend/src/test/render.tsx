import type { Provider } from '@keyfold/client';
import { render } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { HttpResponse, http } from 'msw';
import type { ReactNode } from 'react';
import { Router } from 'wouter';
import { memoryLocation } from 'wouter/memory-location';
import { ApiProvider } from '@/session/client';
import type { PublicConfig } from '@/session/config';
import { ConfigProvider } from '@/session/config-context';
import { LocalSession } from '@/session/local-session';
import { type Session, SessionProvider } from '@/session/session';

export const localConfig: PublicConfig = {
  mode: 'local',
  auth: { kind: 'none' },
  onboarding: 'keyfold',
  env_files: { backend: '/home/ann/app/.env', frontend: '/home/ann/app/frontend/.env' },
};

interface Options {
  /** Where the page is. */
  path?: string;
  config?: Partial<PublicConfig>;
  /** Who is signed in; local mode's user without it. */
  session?: Session;
}

/** Shows a view or a part as the page would: with a session, requests, the public configuration and an address. */
export function renderPage(view: ReactNode, { path = '/', config, session }: Options = {}) {
  const { hook, searchHook, history } = memoryLocation({ path, record: true });
  const page = (
    <ConfigProvider value={{ ...localConfig, ...config }}>
      <SessionOf session={session}>
        <ApiProvider>
          <Router hook={hook} searchHook={searchHook}>
            {view}
          </Router>
        </ApiProvider>
      </SessionOf>
    </ConfigProvider>
  );
  return { user: userEvent.setup(), history, ...render(page) };
}

function SessionOf({ session, children }: { session: Session | undefined; children: ReactNode }) {
  if (session) return <SessionProvider value={session}>{children}</SessionProvider>;
  return <LocalSession kind="none">{children}</LocalSession>;
}

/** A provider of the registry, with the fields that a test cares about. */
export function provider(id: string, fields: Partial<Provider> = {}): Provider {
  return {
    id,
    name: id,
    description: 'Does something.',
    setup_url: `https://${id}.example/keys`,
    setup_instructions: ['Sign in.', 'Copy the key.'],
    format_hint: 'is a text',
    shapes: [],
    refused: [],
    required: false,
    variable: `${id.toUpperCase()}_API_KEY`,
    also_exported_as: [],
    key_header: { name: 'authorization', prefix: 'Bearer ' },
    gateway_path: `/gateway/${id}`,
    generates: false,
    researches: false,
    checkable: true,
    ...fields,
  };
}

export const gemini = provider('gemini', {
  name: 'Google Gemini',
  format_hint: 'starts with AQ. (older keys with AIza)',
  shapes: [
    { prefix: 'AQ.', characters: 'any', at_least: 20, only_here: true },
    { prefix: 'AIza', characters: 'word', exactly: 35, only_here: true },
  ],
  required: true,
  generates: true,
  default_model: 'gemini-flash-latest',
  also_exported_as: ['GOOGLE_API_KEY'],
});
export const exa = provider('exa', {
  name: 'Exa',
  format_hint: 'is a UUID',
  shapes: [{ characters: 'uuid', only_here: false }],
  researches: true,
});
export const copilotkit = provider('copilotkit', {
  name: 'CopilotKit',
  shapes: [{ prefix: 'ck_pub_', characters: 'word', at_least: 8, only_here: true }],
  frontend_variable: 'REACT_APP_COPILOTKIT_API_KEY',
  checkable: false,
});
export const openai = provider('openai', {
  name: 'OpenAI',
  shapes: [
    { prefix: 'sk-proj-', characters: 'word', at_least: 20, only_here: true },
    { prefix: 'sk-', characters: 'word', at_least: 20, only_here: false },
  ],
  refused: [{ prefix: 'sk-admin-', why: 'this is an OpenAI admin key; create a project key instead' }],
  generates: true,
});
export const anthropic = provider('anthropic', {
  name: 'Anthropic',
  shapes: [{ prefix: 'sk-ant-', characters: 'word', at_least: 20, only_here: true }],
  generates: true,
});
export const providers = [gemini, exa, copilotkit, openai, anthropic];

/** Test data: the forms are right, no provider knows them. */
export const testKeys = {
  gemini: 'AQ.TestData00000000000000000000000000001111',
  exa: '7e57da7a-0000-4000-8000-000000002222',
  copilotkit: 'ck_pub_TestData00003333',
  openai: 'sk-proj-TestData000000000000000000004444',
  anthropic: 'sk-ant-TestData000000000000000000005555',
};

/** A path of the API as requests name it. */
export const api = (path: string) => `${window.location.origin}/api${path}`;

/** An error as Keyfold answers it. */
export function problem(status: number, code: string, detail: string, members: object = {}) {
  return HttpResponse.json(
    { type: `urn:keyfold:${code}`, title: code, status, detail, code, request_id: 'req-test', ...members },
    { status, headers: { 'content-type': 'application/problem+json' } },
  );
}

/** What `GET /api/keys` says of a key. */
export function storedKey(id: string, fields: object = {}) {
  return {
    provider: id,
    masked: '••••1234',
    status: 'valid',
    source: 'database',
    version: 1,
    created_at: '2026-11-29T10:00:00Z',
    updated_at: '2026-11-29T10:00:00Z',
    last_used_at: null,
    last_verified_at: '2026-11-29T10:00:00Z',
    has_previous: false,
    ...fields,
  };
}

/** Answers for what nearly every view asks. */
export function standardAnswers({
  keys = [],
  missing = ['gemini'],
}: {
  keys?: object[];
  missing?: string[];
} = {}) {
  return [
    http.get(api('/providers'), () => HttpResponse.json({ providers })),
    http.get(api('/keys'), () => HttpResponse.json({ keys, missing })),
  ];
}
