import { PageHeader } from '@/shared/ui/page-header';

export function KeysView() {
  return <PageHeader title="KeysView" />;
}
