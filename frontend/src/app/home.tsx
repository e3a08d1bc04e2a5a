import { useProgress } from '@/parts/queries';
import { Redirect } from '@/shared/navigation';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { SkeletonList } from '@/shared/ui/skeleton';

/** Where there is something to do: setting up, until that is done, then the keys. */
export function Home() {
  const { data, error, refetch } = useProgress();
  if (error) return <ProblemNotice error={error} onRetry={refetch} />;
  if (!data) return <SkeletonList count={3} className="h-24" />;
  return <Redirect to={data.is_completed ? '/keys' : '/onboarding'} />;
}
