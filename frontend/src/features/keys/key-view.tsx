import { PageHeader } from '@/shared/ui/page-header';

export function KeyView({ provider }: { provider: string }) {
  return <PageHeader title={provider} />;
}
