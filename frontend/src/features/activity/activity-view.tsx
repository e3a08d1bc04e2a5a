import { useGo, useSearchParams } from '@/shared/navigation';
import { PageHeader } from '@/shared/ui/page-header';
import { texts } from '@/texts';
import { EventLog } from './event-log';
import { type Shown, searchOf, shownBy } from './search';
import { Usage } from './usage';

/** What was done with the user's keys, and what the calls came to. The address says what is shown of it. */
export function ActivityView() {
  const [search] = useSearchParams();
  const { days, filters } = shownBy(search);
  const go = useGo();
  const show = (shown: Shown) => go({ to: '/activity', search: searchOf(shown) }, { replace: true });
  return (
    <>
      <PageHeader title={texts.activity.title} lead={texts.activity.lead} />
      <div className="space-y-10">
        <Usage days={days} onChange={(days) => show({ days, filters })} />
        <EventLog filters={filters} onChange={(filters) => show({ days, filters })} />
      </div>
    </>
  );
}
