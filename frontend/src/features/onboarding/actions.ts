import { useQuery, useQueryClient } from '@tanstack/react-query';
import { queryKeys } from '@/parts/queries';
import { useClient } from '@/session/client';

/** Which steps may be skipped. */
export function useOptionalSteps(): readonly number[] {
  const client = useClient();
  const { data } = useQuery({
    queryKey: [...queryKeys.onboarding, 'config'],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ signal }) => (await client.onboarding.config({ signal })).optional_steps,
  });
  return data ?? NONE;
}

const NONE: readonly number[] = [];

/** What moves the user on. The server knows where they stand; the page asks it after each. */
export function useOnboardingActions() {
  const { onboarding } = useClient();
  const queries = useQueryClient();
  const then = async (work: Promise<unknown>) => {
    await work;
    await queries.invalidateQueries({ queryKey: queryKeys.onboarding });
  };
  return {
    completeStep: (number: number) => then(onboarding.completeStep(number, { data: {} })),
    skipStep: (number: number) => then(onboarding.skipStep(number)),
    /** Ends it, with a step that was done just now. */
    finish: async (done: number | null) => {
      if (done !== null) await onboarding.completeStep(done, { data: {} });
      await then(onboarding.complete());
    },
    reset: () => then(onboarding.reset()),
  };
}
