import { KeyfoldClient, KeyfoldError } from '@keyfold/client';
import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createContext, type ReactNode, useContext, useMemo, useState } from 'react';
import { baseUrl } from './config';
import { Kept } from './kept';
import { useSession } from './session';

interface Api {
  client: KeyfoldClient;
  /** Whether the credential ran out and could not be renewed: what was typed stays, and a sign-in goes on from here. */
  hasExpired: boolean;
  kept: Kept;
}

const ApiContext = createContext<Api | null>(null);

/** Requests of the signed-in user. Another user gets another one, so nothing that was fetched is shared. */
export function ApiProvider({ children }: { children: ReactNode }) {
  const session = useSession();
  return <ApiOfUser key={session.user?.id ?? ''}>{children}</ApiOfUser>;
}

function ApiOfUser({ children }: { children: ReactNode }) {
  const { token, renew } = useSession();
  const [hasExpired, setExpired] = useState(false);
  const client = useMemo(
    () =>
      new KeyfoldClient({
        baseUrl,
        token,
        onUnauthenticated: async () => {
          const isRenewed = await renew();
          setExpired(!isRenewed);
          return isRenewed;
        },
      }),
    [token, renew],
  );
  const [queries] = useState(
    () =>
      new QueryClient({
        queryCache: new QueryCache({ onSuccess: () => setExpired(false) }),
        defaultOptions: {
          queries: { staleTime: 10_000, retry: isWorthTryingAgain, networkMode: 'always' },
          mutations: { networkMode: 'always' },
        },
      }),
  );
  const [kept] = useState(() => new Kept());
  const api = useMemo(() => ({ client, hasExpired, kept }), [client, hasExpired, kept]);
  return (
    <ApiContext.Provider value={api}>
      <QueryClientProvider client={queries}>{children}</QueryClientProvider>
    </ApiContext.Provider>
  );
}

/** What a second look may change: the network and the server's own faults, twice. */
function isWorthTryingAgain(failures: number, error: Error): boolean {
  if (failures >= 2) return false;
  if (!(error instanceof KeyfoldError)) return false;
  return error.status === null || error.status >= 500;
}

function useApi(): Api {
  const api = useContext(ApiContext);
  if (!api) throw new Error('useApi stands outside of ApiProvider');
  return api;
}

export const useClient = () => useApi().client;
export const useHasExpired = () => useApi().hasExpired;
export const useKept = () => useApi().kept;
