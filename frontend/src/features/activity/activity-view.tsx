import { useNavigate, useSearch } from '@tanstack/react-router';
import { PageHeader } from '@/shared/ui/page-header';
import { texts } from '@/texts';
import { EventLog } from './event-log';
import { type ActivitySearch, activitySearch } from './search';
import { Usage } from './usage';

/** What was done with the user's keys, and what the calls came to. The address says what is shown of it. */
export function ActivityView() {
  const { days = 30, ...filters } = activitySearch(useSearch({ strict: false }));
  const navigate = useNavigate();
  const show = (search: ActivitySearch) =>
    void navigate({ to: '/activity', search, replace: true, resetScroll: false });
  return (
    <>
      <PageHeader title={texts.activity.title} lead={texts.activity.lead} />
      <div className="space-y-10">
        <Usage days={days} onChange={(days) => show({ ...filters, days })} />
        <EventLog
          filters={filters}
          onChange={(filters) => show({ ...filters, ...(days === 30 ? {} : { days }) })}
        />
      </div>
    </>
  );
}
