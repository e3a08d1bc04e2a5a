import type { Provider } from '@keyfold/client';
import { useKeys, useProviders } from './queries';

/** The providers that the user has a key of, those first that onboarding needs. */
export function useProvidersWithKey() {
  const keys = useKeys();
  const providers = useProviders();
  const isOwned = (provider: Provider) =>
    keys.data?.keys.some((key) => key.provider === provider.id && key.status !== 'unreadable') ?? false;
  return {
    providers:
      keys.data &&
      providers.data?.filter(isOwned).sort((one, other) => Number(other.required) - Number(one.required)),
    error: keys.error ?? providers.error,
    refetch: () => void Promise.all([keys.refetch(), providers.refetch()]),
  };
}
