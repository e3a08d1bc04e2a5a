import { PageHeader } from '@/shared/ui/page-header';

export function TryItView() {
  return <PageHeader title="TryItView" />;
}
