import type { AuditEvent } from '@keyfold/client';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { History, RefreshCw, SearchX } from 'lucide-react';
import { useNameOf } from '@/parts/provider-name';
import { queryKeys, useProviders } from '@/parts/queries';
import { useClient } from '@/session/client';
import { classes } from '@/shared/classes';
import { Button } from '@/shared/ui/button';
import { Empty } from '@/shared/ui/empty';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Select } from '@/shared/ui/select';
import { SkeletonList } from '@/shared/ui/skeleton';
import { texts } from '@/texts';
import { EventLine } from './event-line';
import { linesOf, outcomeIn } from './events';
import { ACTIONS, type Filters, filtersOf, OUTCOMES } from './search';

const PAGE = 50;

type Props = { filters: Filters; onChange: (filters: Filters) => void };

/** The user's part of the audit log, page by page. */
export function EventLog({ filters, onChange }: Props) {
  const words = texts.activity.log;
  const log = useEvents(filters);
  const nameOf = useNameOf();
  const events = log.data?.pages.flatMap((page) => page.events);
  return (
    <section aria-labelledby="log-title" className="space-y-4">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h2 id="log-title" className="font-semibold text-lg">
          {words.title}
        </h2>
        <Button
          size="small"
          kind="quiet"
          busy={log.isRefetching}
          icon={<RefreshCw aria-hidden="true" className="size-4" />}
          onClick={() => log.refetch()}
        >
          {words.refresh}
        </Button>
      </div>
      <FilterBar filters={filters} onChange={onChange} />
      {log.error && <ProblemNotice error={log.error} onRetry={log.refetch} />}
      {log.isPending && <SkeletonList count={6} className="h-16" />}
      {events && events.length === 0 && <NoEvents filters={filters} onChange={onChange} />}
      {events && events.length > 0 && (
        <Lines
          events={events}
          nameOf={nameOf}
          areAll={!filters.action && !filters.outcome}
          isOld={log.isPlaceholderData}
        />
      )}
      {events && events.length > 0 && (
        <div className="flex justify-center">
          {log.hasNextPage ? (
            <Button busy={log.isFetchingNextPage} onClick={() => log.fetchNextPage()}>
              {words.more}
            </Button>
          ) : (
            <p className="text-ink-soft text-sm">{words.end}</p>
          )}
        </div>
      )}
    </section>
  );
}

function useEvents(filters: Filters) {
  const client = useClient();
  return useInfiniteQuery({
    queryKey: [...queryKeys.audit, filters],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam: cursor, signal }) => {
      const query = { limit: PAGE, cursor, ...filters };
      return client.audit.list(query, { signal });
    },
    getNextPageParam: (page) => page.next_cursor,
    // Things happen elsewhere, too.
    staleTime: 0,
    placeholderData: keepPreviousData,
  });
}

type LinesProps = { events: AuditEvent[]; areAll: boolean; isOld: boolean; nameOf: (id: string) => string };

function Lines({ events, areAll, isOld, nameOf }: LinesProps) {
  return (
    <ul
      aria-busy={isOld}
      className={classes(
        'divide-y divide-line overflow-hidden rounded-2xl border border-line bg-surface transition-opacity',
        isOld && 'opacity-60',
      )}
    >
      {linesOf(events, areAll).map((line) => (
        <li key={line.event.id}>
          <EventLine line={line} nameOf={nameOf} />
        </li>
      ))}
    </ul>
  );
}

function FilterBar({ filters, onChange }: Props) {
  const words = texts.activity.log;
  const { data: providers = [] } = useProviders();
  /** Nothing chosen is no filter. */
  const change = (part: Record<string, string>) => onChange(filtersOf({ ...filters, ...part }));
  return (
    <fieldset className="grid grid-cols-2 gap-2 sm:grid-cols-3">
      <legend className="sr-only">{words.filters}</legend>
      <Select
        className="col-span-2 sm:col-span-1"
        aria-label={words.provider}
        value={filters.provider ?? ''}
        onChange={(event) => change({ provider: event.target.value })}
      >
        <option value="">{words.anyProvider}</option>
        {filters.provider && !providers.some(({ id }) => id === filters.provider) && (
          <option value={filters.provider}>{filters.provider}</option>
        )}
        {providers.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </Select>
      <Select
        aria-label={words.action}
        value={filters.action ?? ''}
        onChange={(event) => change({ action: event.target.value })}
      >
        <option value="">{words.anyAction}</option>
        {ACTIONS.map((action) => (
          <option key={action} value={action}>
            {texts.activity.action[action]}
          </option>
        ))}
      </Select>
      <Select
        aria-label={words.outcome}
        value={filters.outcome ?? ''}
        onChange={(event) => change({ outcome: event.target.value })}
      >
        <option value="">{words.anyOutcome}</option>
        {OUTCOMES.map((outcome) => (
          <option key={outcome} value={outcome}>
            {outcomeIn(outcome)}
          </option>
        ))}
      </Select>
    </fieldset>
  );
}

function NoEvents({ filters, onChange }: Props) {
  const words = texts.activity.log;
  if (Object.keys(filters).length === 0) {
    return (
      <Empty icon={<History aria-hidden="true" className="size-6" />} title={words.emptyTitle}>
        {words.emptyText}
      </Empty>
    );
  }
  return (
    <Empty
      icon={<SearchX aria-hidden="true" className="size-6" />}
      title={words.noneTitle}
      action={<Button onClick={() => onChange({})}>{words.clear}</Button>}
    >
      {words.noneText}
    </Empty>
  );
}
