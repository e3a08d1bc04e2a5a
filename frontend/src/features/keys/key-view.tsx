import { PageHeader } from '@/shared/ui/page-header';

export function KeyView() {
  return <PageHeader title="KeyView" />;
}
