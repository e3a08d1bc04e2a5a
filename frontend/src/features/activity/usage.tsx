import type { UsageOfDay } from '@keyfold/client';
import { ChartColumn } from 'lucide-react';
import { lazy, Suspense } from 'react';
import { useNameOf } from '@/parts/provider-name';
import { useUsage } from '@/parts/usage';
import { classes } from '@/shared/classes';
import { Link } from '@/shared/navigation';
import { buttonLook } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { Empty } from '@/shared/ui/empty';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Skeleton } from '@/shared/ui/skeleton';
import { texts } from '@/texts';
import { totalOf } from './figures';
import { DAYS, type Days } from './search';
import { UsageTable } from './usage-table';

const UsageChart = lazy(() => import('./usage-chart').then((module) => ({ default: module.UsageChart })));

type Props = { days: Days; onChange: (days: Days) => void };

/** Calls per day and provider. */
export function Usage({ days, onChange }: Props) {
  const { data, error, refetch, isPlaceholderData } = useUsage(days);
  const words = texts.activity.usage;
  return (
    <section aria-labelledby="usage-title" className="space-y-4">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h2 id="usage-title" className="font-semibold text-lg">
          {words.title}
        </h2>
        <Period days={days} onChange={onChange} />
      </div>
      {error && <ProblemNotice error={error} onRetry={refetch} />}
      {!data && !error && <Skeleton className="h-96 sm:h-84" />}
      {data && (
        <div className={classes('transition-opacity', isPlaceholderData && 'opacity-60')}>
          {data.length === 0 ? <NoUsage /> : <Figures usage={data} days={days} />}
        </div>
      )}
    </section>
  );
}

function Period({ days, onChange }: Props) {
  const words = texts.activity.usage;
  return (
    <fieldset className="flex rounded-lg border border-line bg-surface p-0.5">
      <legend className="sr-only">{words.period}</legend>
      {DAYS.map((choice) => (
        <label
          key={choice}
          className="cursor-pointer rounded-md px-3 py-1 font-medium text-ink-soft text-sm has-checked:bg-brand-soft has-checked:text-brand-strong has-focus-visible:outline-2 has-focus-visible:outline-brand"
        >
          <input
            type="radio"
            name="period"
            className="sr-only"
            checked={choice === days}
            onChange={() => onChange(choice)}
          />
          {words.days(choice)}
        </label>
      ))}
    </fieldset>
  );
}

function Figures({ usage, days }: { usage: UsageOfDay[]; days: Days }) {
  const nameOf = useNameOf();
  const words = texts.activity.usage;
  const total = totalOf(usage);
  const facts = [
    [words.requests, total.requests],
    [words.errors, total.errors],
    [words.input, total.input_tokens],
    [words.output, total.output_tokens],
  ] as const;
  return (
    <Card className="space-y-5">
      <dl className="grid grid-cols-2 gap-4 sm:grid-cols-4">
        {facts.map(([name, value]) => (
          <div key={name} className="flex flex-col-reverse">
            <dt className="text-ink-soft text-sm">{name}</dt>
            <dd className="font-semibold text-2xl tabular-nums tracking-tight">
              {new Intl.NumberFormat(undefined, {
                notation: value < 100_000 ? 'standard' : 'compact',
              }).format(value)}
            </dd>
          </div>
        ))}
      </dl>
      <Suspense fallback={<Skeleton className="h-56" />}>
        <UsageChart usage={usage} days={days} nameOf={nameOf} />
      </Suspense>
      <UsageTable usage={usage} nameOf={nameOf} />
      <p className="text-ink-soft text-xs">{words.utc}</p>
    </Card>
  );
}

function NoUsage() {
  const words = texts.activity.usage;
  return (
    <Empty
      icon={<ChartColumn aria-hidden="true" className="size-6" />}
      title={words.emptyTitle}
      action={
        <Link to="/try" className={buttonLook()}>
          {words.tryIt}
        </Link>
      }
    >
      {words.emptyText}
    </Empty>
  );
}
