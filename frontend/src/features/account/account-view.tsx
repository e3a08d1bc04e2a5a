import { PageHeader } from '@/shared/ui/page-header';
import { texts } from '@/texts';
import { DeleteCard } from './delete-card';
import { ExportCard } from './export-card';
import { YouCard } from './you-card';

export function AccountView() {
  return (
    <>
      <PageHeader title={texts.account.title} lead={texts.account.lead} />
      <div className="max-w-2xl space-y-5">
        <YouCard />
        <ExportCard />
        <DeleteCard />
      </div>
    </>
  );
}
