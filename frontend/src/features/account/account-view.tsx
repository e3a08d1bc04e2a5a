import { PageHeader } from '@/shared/ui/page-header';
import { account as accountTexts } from '@/texts/account';
import { DeleteCard } from './delete-card';
import { ExportCard } from './export-card';
import { YouCard } from './you-card';

export function AccountView() {
  return (
    <>
      <PageHeader title={accountTexts.title} lead={accountTexts.lead} />
      <div className="max-w-2xl space-y-5">
        <YouCard />
        <ExportCard />
        <DeleteCard />
      </div>
    </>
  );
}
