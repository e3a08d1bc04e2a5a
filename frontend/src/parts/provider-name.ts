import type { Provider } from '@keyfold/client';
import { useProviders } from './queries';

/** A provider's name; of one that is not known, or not yet, its id. */
export function nameOf(providers: readonly Provider[] | undefined, id: string): string {
  return providers?.find((provider) => provider.id === id)?.name ?? id;
}

export function useNameOf(): (id: string) => string {
  const { data: providers } = useProviders();
  return (id) => nameOf(providers, id);
}
