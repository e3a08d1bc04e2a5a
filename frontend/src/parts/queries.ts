import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useClient } from '@/session/client';

/** Names of what was fetched, so that a change knows what to fetch anew. */
export const queryKeys = {
  keys: ['keys'],
  providers: ['providers'],
  onboarding: ['onboarding'],
  audit: ['audit'],
  usage: ['usage'],
} as const;

export function useProviders() {
  const client = useClient();
  return useQuery({
    queryKey: queryKeys.providers,
    // They change with a restart of the server only.
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ signal }) => (await client.providers.list({ signal })).providers,
  });
}

export function useKeys() {
  const client = useClient();
  return useQuery({ queryKey: queryKeys.keys, queryFn: ({ signal }) => client.keys.list({ signal }) });
}

export function useProgress() {
  const client = useClient();
  return useQuery({
    queryKey: queryKeys.onboarding,
    queryFn: ({ signal }) => client.onboarding.progress({ signal }),
  });
}

/** Fetches anew what a change of a key changes. */
export function useKeysChanged() {
  const queries = useQueryClient();
  return () =>
    Promise.all(
      [queryKeys.keys, queryKeys.onboarding, queryKeys.audit].map((queryKey) =>
        queries.invalidateQueries({ queryKey }),
      ),
    );
}

export function useSaveKey() {
  const client = useClient();
  const changed = useKeysChanged();
  return useMutation({
    mutationFn: ({ provider, key }: { provider: string; key: string }) => client.keys.save(provider, key),
    onSuccess: changed,
    // What was typed is not kept after it is done.
    gcTime: 0,
  });
}
