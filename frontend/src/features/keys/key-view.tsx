import type { Key, Provider } from '@keyfold/client';
import { ArrowLeft } from 'lucide-react';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { KeyStatusBadge } from '@/parts/key-status-badge';
import { type Outcome, OutcomeNotice } from '@/parts/outcome';
import { ProviderMark } from '@/parts/provider-mark';
import { useKeys, useProviders } from '@/parts/queries';
import { SetupInstructions } from '@/parts/setup-instructions';
import { Link } from '@/shared/navigation';
import { buttonLook } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { Empty } from '@/shared/ui/empty';
import { PageHeader } from '@/shared/ui/page-header';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Skeleton, SkeletonList } from '@/shared/ui/skeleton';
import { texts } from '@/texts';
import { KeyActivity } from './key-activity';
import { KeyEntry } from './key-entry';
import { StoredKey } from './stored-key';

const words = texts.keys;

/** One provider's key: what is there, and everything that can be done with it. */
export function KeyView({ provider: id }: { provider: string }) {
  const keys = useKeys();
  const providers = useProviders();
  const error = keys.error ?? providers.error;
  const provider = providers.data?.find((one) => one.id === id);
  if (provider && providers.data && keys.data) {
    const stored = keys.data.keys.find((key) => key.provider === id);
    return <OneKey key={id} provider={provider} providers={providers.data} stored={stored} />;
  }
  return (
    <>
      <BackToKeys />
      {providers.data && keys.data ? (
        <NoSuchProvider />
      ) : error ? (
        <ProblemNotice error={error} onRetry={() => [keys, providers].map((query) => query.refetch())} />
      ) : (
        <>
          <Skeleton className="mb-6 h-14" />
          <SkeletonList count={2} className="h-56" />
        </>
      )}
    </>
  );
}

type Props = { provider: Provider; providers: readonly Provider[]; stored: Key | undefined };

function OneKey({ provider, providers, stored }: Props) {
  // Of what was done last; it is read out, and stays until the next.
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const said = useRef<HTMLDivElement>(null);
  const isThere = stored !== undefined;
  // The field or the button that it came of may be gone; who stood on it goes on from here.
  // biome-ignore lint/correctness/useExhaustiveDependencies: they go when a key comes or goes
  useEffect(() => {
    if (outcome && document.activeElement === document.body) said.current?.focus();
  }, [outcome, isThere]);
  return (
    <>
      <BackToKeys />
      <PageHeader
        title={provider.name}
        lead={provider.description}
        mark={<ProviderMark id={provider.id} name={provider.name} size="large" />}
        badge={<KeyStatusBadge status={stored?.status ?? 'missing'} />}
      />
      <div className="grid gap-6 lg:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="min-w-0 space-y-4">
          {outcome && (
            <div ref={said} tabIndex={-1} className="rounded-xl outline-none">
              <OutcomeNotice outcome={outcome} />
            </div>
          )}
          {stored ? (
            <StoredKey stored={stored} provider={provider} providers={providers} onOutcome={setOutcome} />
          ) : (
            <NewKey provider={provider} providers={providers} onOutcome={setOutcome} />
          )}
        </div>
        <div className="min-w-0 space-y-4">
          {stored && (
            <Card>
              <SetupInstructions provider={provider} />
            </Card>
          )}
          <KeyActivity provider={provider.id} />
        </div>
      </div>
    </>
  );
}

type NewKeyProps = Omit<Props, 'stored'> & { onOutcome: (outcome: Outcome) => void };

function NewKey({ provider, providers, onOutcome }: NewKeyProps) {
  return (
    <Card className="space-y-4">
      <Titled title={words.add.title(provider.name)}>{words.add.text}</Titled>
      <SetupInstructions provider={provider} isOpen />
      <KeyEntry provider={provider} providers={providers} saveLabel={words.add.save} onSaved={onOutcome} />
    </Card>
  );
}

function Titled({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div>
      <h2 className="font-semibold text-lg">{title}</h2>
      <p className="text-ink-soft text-sm">{children}</p>
    </div>
  );
}

function BackToKeys() {
  return (
    <Link
      to="/keys"
      aria-current="false"
      className="mb-4 inline-flex items-center gap-1 rounded font-medium text-brand text-sm hover:underline"
    >
      <ArrowLeft aria-hidden="true" className="size-4" />
      {words.back}
    </Link>
  );
}

function NoSuchProvider() {
  return (
    <Empty
      title={words.unknown.title}
      titleAs="h1"
      action={
        <Link to="/keys" className={buttonLook('primary')}>
          {words.back}
        </Link>
      }
    >
      {words.unknown.text}
    </Empty>
  );
}
