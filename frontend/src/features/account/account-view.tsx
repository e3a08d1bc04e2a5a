import { PageHeader } from '@/shared/ui/page-header';

export function AccountView() {
  return <PageHeader title="AccountView" />;
}
