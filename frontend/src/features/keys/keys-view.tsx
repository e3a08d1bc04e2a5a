import type { Key, Provider } from '@keyfold/client';
import { ChevronRight, KeyRound, Plus } from 'lucide-react';
import { useId } from 'react';
import { KeyStatusBadge } from '@/parts/key-status-badge';
import { ProviderMark } from '@/parts/provider-mark';
import { useKeys, useProviders } from '@/parts/queries';
import { useConfig } from '@/session/config-context';
import { Link } from '@/shared/navigation';
import { buttonLook } from '@/shared/ui/button';
import { Empty } from '@/shared/ui/empty';
import { Moment } from '@/shared/ui/moment';
import { PageHeader } from '@/shared/ui/page-header';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { SkeletonList } from '@/shared/ui/skeleton';
import { texts } from '@/texts';
import { sourceOf } from './source';

const words = texts.keys;

/** All keys of the user, masked: what is needed and missing first, and the way to add others. */
export function KeysView() {
  const { mode } = useConfig();
  const keys = useKeys();
  const providers = useProviders();
  const error = keys.error ?? providers.error;
  const isThere = keys.data && providers.data;
  return (
    <>
      <PageHeader title={words.title} lead={mode === 'local' ? words.lead.local : words.lead.production} />
      {isThere ? (
        <Keys keys={keys.data.keys} missing={keys.data.missing} providers={providers.data} />
      ) : error ? (
        <ProblemNotice error={error} onRetry={() => [keys, providers].map((query) => query.refetch())} />
      ) : (
        <SkeletonList count={4} className="h-20" />
      )}
    </>
  );
}

type Props = { keys: readonly Key[]; missing: readonly string[]; providers: readonly Provider[] };

function Keys({ keys, missing, providers }: Props) {
  const lacking = providers.filter(
    ({ id }) => missing.includes(id) && !keys.some((key) => key.provider === id),
  );
  const others = providers.filter(
    (provider) => !lacking.includes(provider) && !keys.some((key) => key.provider === provider.id),
  );
  return (
    <div className="space-y-8">
      {keys.length === 0 ? <NoKeys /> : <Missing providers={lacking} />}
      {keys.length > 0 && (
        <ul
          aria-label={words.there}
          className="divide-y divide-line overflow-hidden rounded-2xl border border-line bg-surface"
        >
          {keys.map((key) => (
            <li key={key.provider}>
              <KeyRow item={key} provider={providers.find(({ id }) => id === key.provider)} />
            </li>
          ))}
        </ul>
      )}
      {others.length > 0 && keys.length > 0 && <Others providers={others} />}
    </div>
  );
}

function NoKeys() {
  return (
    <Empty
      icon={<KeyRound aria-hidden="true" className="size-8" />}
      title={words.empty.title}
      action={
        <Link to="/onboarding" className={buttonLook('primary')}>
          {words.empty.action}
        </Link>
      }
    >
      {words.empty.text}
    </Empty>
  );
}

function Missing({ providers }: { providers: readonly Provider[] }) {
  const titleId = useId();
  if (providers.length === 0) return null;
  return (
    <section aria-labelledby={titleId} className="space-y-3">
      <h2 id={titleId} className="font-semibold text-lg">
        {words.missing.title}
      </h2>
      <ul className="grid gap-3 sm:grid-cols-2">
        {providers.map((provider) => (
          <li key={provider.id}>
            <Link
              to="/keys/$provider"
              params={{ provider: provider.id }}
              className="flex items-center gap-3 rounded-2xl border border-warn/50 bg-surface p-4 transition-colors hover:border-warn"
            >
              <ProviderMark id={provider.id} name={provider.name} />
              <span className="min-w-0 flex-1">
                <span className="block font-medium">{words.missing.add(provider.name)}</span>
                <span className="block text-ink-soft text-sm">{provider.description}</span>
              </span>
              <KeyStatusBadge status="missing" />
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}

function KeyRow({ item, provider }: { item: Key; provider: Provider | undefined }) {
  const name = provider?.name ?? item.provider;
  return (
    <Link
      to="/keys/$provider"
      params={{ provider: item.provider }}
      className="group flex items-center gap-3 px-4 py-3.5 transition-colors hover:bg-sunken focus-visible:-outline-offset-2 sm:px-5"
    >
      <ProviderMark id={item.provider} name={name} />
      <span className="min-w-0 flex-1 sm:flex sm:items-center sm:gap-4">
        <span className="block min-w-0 sm:flex-1">
          <span className="flex flex-wrap items-center gap-x-2 gap-y-1">
            <span className="font-medium">{name}</span>
            <KeyStatusBadge status={item.status} />
          </span>
          <span className="mt-0.5 flex flex-wrap gap-x-2 text-ink-soft text-sm">
            <span className="font-mono">{item.masked}</span>
            <span>{sourceOf(item)}</span>
          </span>
        </span>
        <span className="mt-1 flex shrink-0 gap-x-4 text-sm sm:mt-0 sm:gap-x-6">
          <Fact name={words.columns.lastUsed} at={item.last_used_at} />
          <Fact name={words.columns.lastChecked} at={item.last_verified_at} />
        </span>
      </span>
      <ChevronRight
        aria-hidden="true"
        className="size-4 shrink-0 text-ink-soft transition-transform group-hover:translate-x-0.5"
      />
    </Link>
  );
}

function Fact({ name, at }: { name: string; at: string | null | undefined }) {
  return (
    <span className="block sm:w-32">
      <span className="block text-ink-soft text-xs">{name} </span>
      <Moment at={at} />
    </span>
  );
}

function Others({ providers }: { providers: readonly Provider[] }) {
  const titleId = useId();
  return (
    <section aria-labelledby={titleId} className="space-y-3">
      <div>
        <h2 id={titleId} className="font-semibold text-lg">
          {words.others.title}
        </h2>
        <p className="text-ink-soft text-sm">{words.others.text}</p>
      </div>
      <ul className="grid gap-2 sm:grid-cols-2 lg:grid-cols-3">
        {providers.map((provider) => (
          <li key={provider.id} className="min-w-0">
            <Link
              to="/keys/$provider"
              params={{ provider: provider.id }}
              className="flex h-full items-center gap-3 rounded-xl border border-line bg-surface px-3 py-2.5 transition-colors hover:border-brand"
            >
              <ProviderMark id={provider.id} name={provider.name} size="small" />
              <span className="min-w-0 flex-1">
                <span className="block font-medium text-sm">{provider.name}</span>
                <span className="block truncate text-ink-soft text-xs">{provider.description}</span>
              </span>
              <Plus aria-hidden="true" className="size-4 shrink-0 text-ink-soft" />
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}
