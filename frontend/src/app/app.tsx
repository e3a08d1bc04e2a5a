import { useCallback, useEffect, useState } from 'react';
import { ApiProvider } from '@/session/client';
import { fetchConfig, type PublicConfig } from '@/session/config';
import { ConfigProvider } from '@/session/config-context';
import { SessionGate } from '@/session/session-gate';
import { Boundary } from '@/shared/ui/boundary';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { SkeletonList } from '@/shared/ui/skeleton';
import { ViewFailed } from './not-found';
import { Shell } from './shell';
import { Views } from './views';

export function App() {
  return (
    <Boundary failed={<Failed />}>
      <Page />
    </Boundary>
  );
}

function Page() {
  const { config, error, again } = usePublicConfig();
  if (!config) return <Waiting error={error} onRetry={again} />;
  return (
    <ConfigProvider value={config}>
      <SessionGate config={config} waiting={<Waiting />}>
        <ApiProvider>
          <Shell>
            <Views />
          </Shell>
        </ApiProvider>
      </SessionGate>
    </ConfigProvider>
  );
}

function usePublicConfig() {
  const [config, setConfig] = useState<PublicConfig | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [attempt, setAttempt] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each attempt asks anew
  useEffect(() => {
    const leaving = new AbortController();
    fetchConfig(leaving.signal).then(setConfig, (failure) => {
      if (!leaving.signal.aborted) setError(failure);
    });
    return () => leaving.abort();
  }, [attempt]);
  const again = useCallback(() => {
    setError(null);
    setAttempt((count) => count + 1);
  }, []);
  return { config, error, again };
}

/** Not even who is here could be found out. */
function Failed() {
  return (
    <main className="mx-auto max-w-5xl px-4 pt-24">
      <ViewFailed />
    </main>
  );
}

function Waiting({ error, onRetry }: { error?: unknown; onRetry?: () => void }) {
  return (
    <main className="mx-auto max-w-5xl px-4 pt-24">
      {error ? (
        <ProblemNotice error={error} {...(onRetry ? { onRetry } : {})} />
      ) : (
        <SkeletonList count={3} className="h-24" />
      )}
    </main>
  );
}
