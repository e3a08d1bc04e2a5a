import { PageHeader } from '@/shared/ui/page-header';

export function ActivityView() {
  return <PageHeader title="ActivityView" />;
}
