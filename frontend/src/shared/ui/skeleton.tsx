import { classes } from '@/shared/classes';
import { texts } from '@/texts';

/** Holds the place of what is on its way, as large as that will be, so that nothing jumps. */
export function Skeleton({ className }: { className?: string }) {
  return <div aria-hidden="true" className={classes('animate-pulse rounded-xl bg-line/60', className)} />;
}

/** Several of them, and words for those who do not see them. */
export function SkeletonList({ count, className }: { count: number; className: string }) {
  const places = Array.from({ length: count }, (_, place) => `place-${place}`);
  return (
    <div className="space-y-3">
      <span className="sr-only" role="status">
        {texts.common.loading}
      </span>
      {places.map((place) => (
        <Skeleton key={place} className={className} />
      ))}
    </div>
  );
}
