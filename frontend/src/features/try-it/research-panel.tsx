import type { Provider } from '@keyfold/client';
import { Search } from 'lucide-react';
import { type FormEvent, useState } from 'react';
import { useDraft } from '@/parts/draft';
import { useProviders } from '@/parts/queries';
import { type Research, ResearchResults } from '@/parts/research-results';
import { Link } from '@/shared/navigation';
import { Button, buttonLook } from '@/shared/ui/button';
import { Empty } from '@/shared/ui/empty';
import { TextField } from '@/shared/ui/text-field';
import { texts } from '@/texts';

const RESULTS = 5;

type Props = { providers: Provider[]; research: Research };

/** A question, and what the web has on it. */
export function ResearchPanel({ providers, research }: Props) {
  if (!providers.some((provider) => provider.researches)) return <NoKey />;
  return (
    <div className="space-y-6">
      <QueryForm research={research} />
      <ResearchResults research={research} />
    </div>
  );
}

function QueryForm({ research }: { research: Research }) {
  const words = texts.tryIt.research;
  const [query, setQuery] = useDraft('query');
  const [isMissing, setMissing] = useState(false);
  const search = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (research.state === 'running') return;
    setMissing(!query.trim());
    if (query.trim()) research.start({ query: query.trim(), num_results: RESULTS });
    else event.currentTarget.querySelector('input')?.focus();
  };
  return (
    <form onSubmit={search} className="flex flex-wrap items-start gap-3">
      <TextField
        className="min-w-60 flex-1"
        label={words.query}
        placeholder={words.placeholder}
        enterKeyHint="search"
        value={query}
        onChange={(event) => {
          setQuery(event.target.value);
          setMissing(false);
        }}
        error={isMissing && words.missing}
      />
      <Button
        type="submit"
        kind="primary"
        busy={research.state === 'running'}
        icon={<Search aria-hidden="true" className="size-4" />}
        className="w-full sm:mt-6.5 sm:w-auto"
      >
        {words.send}
      </Button>
    </form>
  );
}

function NoKey() {
  const { emptyTitle, emptyText } = texts.tryIt.research;
  const { data: all } = useProviders();
  const name = all?.find((provider) => provider.researches)?.name ?? 'Exa';
  return (
    <Empty
      icon={<Search aria-hidden="true" className="size-6" />}
      title={emptyTitle(name)}
      action={
        <Link to="/keys" className={buttonLook('primary')}>
          {texts.tryIt.generate.addKey}
        </Link>
      }
    >
      {emptyText(name)}
    </Empty>
  );
}
