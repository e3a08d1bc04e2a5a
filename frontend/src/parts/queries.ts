import { useQuery, useQueryClient } from '@tanstack/react-query';
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
  return useQuery({
    queryKey: queryKeys.keys,
    queryFn: ({ signal }) => client.keys.list({ signal }),
    // Other tabs and devices change them too.
    refetchOnWindowFocus: 'always',
  });
}

export function useProgress() {
  const client = useClient();
  return useQuery({
    queryKey: queryKeys.onboarding,
    queryFn: ({ signal }) => client.onboarding.progress({ signal }),
    refetchOnWindowFocus: 'always',
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
