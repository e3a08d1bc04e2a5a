import type { AuditEvent } from '@keyfold/client';
import { useQuery } from '@tanstack/react-query';
import { useId } from 'react';
import { queryKeys } from '@/parts/queries';
import { useClient } from '@/session/client';
import { Link } from '@/shared/navigation';
import { Card } from '@/shared/ui/card';
import { Moment } from '@/shared/ui/moment';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Skeleton } from '@/shared/ui/skeleton';
import { texts } from '@/texts';

const words = texts.keys.activity;
const SHOWN = 20;

/** What was done with this key lately. */
export function KeyActivity({ provider }: { provider: string }) {
  const titleId = useId();
  const client = useClient();
  const { data, error, refetch } = useQuery({
    queryKey: [...queryKeys.audit, 'of-key', provider],
    queryFn: ({ signal }) => client.audit.list({ provider, limit: SHOWN }, { signal }),
  });
  return (
    <Card aria-labelledby={titleId}>
      <div className="mb-2 flex items-baseline justify-between gap-2">
        <h2 id={titleId} className="font-semibold">
          {words.title}
        </h2>
        <Link
          to="/activity"
          search={{ provider }}
          className="shrink-0 rounded font-medium text-brand text-sm hover:underline"
        >
          {words.all}
        </Link>
      </div>
      {data ? (
        <Events events={data.events} />
      ) : error ? (
        <ProblemNotice error={error} onRetry={refetch} />
      ) : (
        <Skeleton className="h-40" />
      )}
    </Card>
  );
}

function Events({ events }: { events: readonly AuditEvent[] }) {
  const ended = new Set(events.filter(({ action }) => action === 'key.ended').map((event) => event.call_id));
  // A use and its end are one: the end knows more.
  const shown = events.filter(({ action, call_id: call }) => action !== 'key.opened' || !ended.has(call));
  if (shown.length === 0) return <p className="text-ink-soft text-sm">{words.none}</p>;
  return (
    <ol className="divide-y divide-line text-sm">
      {shown.map((event) => (
        <li key={event.id} className="flex flex-wrap justify-between gap-x-3 py-2">
          <span>
            {actionOf(event)}
            <Outcome outcome={event.outcome} />
          </span>
          <span className="text-ink-soft">
            <Moment at={event.at} />
          </span>
        </li>
      ))}
    </ol>
  );
}

const ACTIONS: Record<string, string> = texts.activity.action;

function actionOf({ action }: AuditEvent): string {
  return ACTIONS[action === 'key.ended' ? 'key.opened' : action] ?? action;
}

function Outcome({ outcome }: { outcome: string }) {
  if (outcome === 'ok') return null;
  return <span className="text-ink-soft"> · {texts.activity.outcome[outcome] ?? outcome}</span>;
}
