import { lazy, Suspense } from 'react';
import { useProvidersWithKey } from '@/parts/providers-with-key';
import { useResearch } from '@/parts/research-results';
import { useGeneration } from '@/parts/streamed-answer';
import { useGo, useSearchParams } from '@/shared/navigation';
import { Boundary } from '@/shared/ui/boundary';
import { Notice } from '@/shared/ui/notice';
import { PageHeader } from '@/shared/ui/page-header';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Skeleton } from '@/shared/ui/skeleton';
import { Tabs } from '@/shared/ui/tabs';
import { texts } from '@/texts';
import { GeneratePanel } from './generate-panel';
import { ResearchPanel } from './research-panel';
import { type Part, partOf } from './search';

const CodePanel = lazy(() => import('./code-panel').then((module) => ({ default: module.CodePanel })));

export function TryItView() {
  const [search] = useSearchParams();
  const go = useGo();
  // Here, so that an answer goes on being written while another part is looked at.
  const generation = useGeneration();
  const research = useResearch();
  const { providers, error, refetch } = useProvidersWithKey();
  const { title, lead, parts } = texts.tryIt;

  const content = (part: Part) => {
    if (!providers) return error ? <ProblemNotice error={error} onRetry={refetch} /> : <Waiting />;
    if (part === 'generate') return <GeneratePanel providers={providers} generation={generation} />;
    if (part === 'research') return <ResearchPanel providers={providers} research={research} />;
    return (
      <Boundary failed={<Notice tone="warn">{texts.common.crash.part}</Notice>}>
        <Suspense fallback={<Waiting />}>
          <CodePanel providers={providers} />
        </Suspense>
      </Boundary>
    );
  };
  const tab = (value: Part) => ({ value, label: parts[value], content: content(value) });
  return (
    <>
      <PageHeader title={title} lead={lead} />
      <Tabs
        label={parts.label}
        tabs={[tab('generate'), tab('research'), tab('code')]}
        value={partOf(search)}
        onChange={(part) => go({ to: '/try', search: { part } }, { replace: true })}
      />
    </>
  );
}

function Waiting() {
  return (
    <div className="space-y-4">
      <Skeleton className="h-32" />
      <Skeleton className="h-10" />
    </div>
  );
}
