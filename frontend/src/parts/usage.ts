import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useClient } from '@/session/client';
import { queryKeys } from './queries';

/** What the user's calls came to, per day and provider. */
export function useUsage(days: number) {
  const client = useClient();
  return useQuery({
    queryKey: [...queryKeys.usage, days],
    queryFn: async ({ signal }) => (await client.usage({ days }, { signal })).usage,
    placeholderData: keepPreviousData,
  });
}
