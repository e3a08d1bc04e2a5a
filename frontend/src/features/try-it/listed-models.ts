import type { Provider } from '@keyfold/client';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useClient } from '@/session/client';
import { useSession } from '@/session/session';

/** The provider's own list, through the gateway and with the user's key; asked for on a click only, since it is a call. */
export function useListedModels(provider: Provider) {
  const client = useClient();
  const { token } = useSession();
  const [isWanted, setWanted] = useState(false);
  const path = pathOfModels(provider);
  const { data, isFetching, isError, refetch } = useQuery({
    queryKey: ['models', provider.id],
    enabled: isWanted,
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
    queryFn: async ({ signal }) => {
      const credential = await token();
      const headers: HeadersInit = credential === null ? {} : { authorization: `Bearer ${credential}` };
      // A redirect of the provider's would come through the gateway; the credential follows none.
      const answer = await fetch(client.gatewayUrl(provider.id) + path, {
        headers,
        signal,
        redirect: 'error',
      });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      return modelsIn(await answer.json());
    },
  });
  return {
    canBeAsked: path !== null,
    models: data,
    isAsking: isFetching,
    hasFailed: isError && !isFetching,
    ask: () => (isError ? void refetch() : setWanted(true)),
  };
}

/** Below the provider's address on the gateway; null where it is not known. */
function pathOfModels({ generate_api, generate_path, gateway_path }: Provider): string | null {
  if (!generate_path) return null;
  const path = generate_path.slice(gateway_path.length);
  if (generate_api === 'gemini') return `${path}?pageSize=1000`;
  const base = path.replace(/\/(chat\/completions|responses|messages)$/, '');
  return base === path ? null : `${base}/models`;
}

/** The names in a list of Gemini's, of OpenAI's shape (Anthropic's too), or a bare one. */
export function modelsIn(answer: unknown): string[] {
  const { data, models } = isRecord(answer) ? answer : { data: answer, models: undefined };
  const list = Array.isArray(data) ? data : Array.isArray(models) ? models : null;
  if (!list) throw new Error('no list of models');
  return list
    .filter(isRecord)
    .filter(writesText)
    .map(({ id, name }) => (typeof id === 'string' ? id : name))
    .filter((name) => typeof name === 'string')
    .map((name) => name.replace(/^models\//, ''))
    .sort();
}

/** Gemini says what each model does; others do not. */
function writesText({ supportedGenerationMethods: methods }: Record<string, unknown>): boolean {
  return !Array.isArray(methods) || methods.includes('generateContent');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
