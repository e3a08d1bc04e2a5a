import type { ResearchRequest, ResearchResult } from '@keyfold/client';
import { Globe } from 'lucide-react';
import { useCallback, useState } from 'react';
import { useClient } from '@/session/client';
import { Card } from '@/shared/ui/card';
import { SkeletonList } from '@/shared/ui/skeleton';
import { texts } from '@/texts';
import { useOneCall } from './call';
import { CallProblem } from './call-problem';

interface Progress {
  state: 'idle' | 'running' | 'done' | 'failed';
  request: ResearchRequest | null;
  results: ResearchResult[];
  error: unknown;
}

export interface Research extends Progress {
  /** Ends the one that runs, if there is one. */
  start: (request: ResearchRequest) => void;
}

const IDLE: Progress = { state: 'idle', request: null, results: [], error: null };
const PROVIDER = 'exa';

/** One search at a time. It is dropped when the view goes. */
export function useResearch(): Research {
  const client = useClient();
  const { begin, over } = useOneCall();
  const [progress, setProgress] = useState(IDLE);

  const start = useCallback(
    async (request: ResearchRequest) => {
      const signal = begin();
      /** What belongs to a search that another one has followed changes nothing. */
      const end = (part: Partial<Progress>) =>
        setProgress((before) => (before.request === request ? { ...before, ...part } : before));
      setProgress({ ...IDLE, state: 'running', request });
      try {
        const { results } = await client.research(request, { signal });
        // What the provider sends is not promised to have this shape.
        end({ state: 'done', results: results.filter(isRecord) });
      } catch (error) {
        end({ state: 'failed', error });
      }
      over();
    },
    [client, begin, over],
  );
  return { ...progress, start };
}

/** What was found, or why not. Nothing before the first start. */
export function ResearchResults({ research }: { research: Research }) {
  const { state, request, results, error, start } = research;
  if (!request) return null;
  if (state === 'running') return <SkeletonList count={request.num_results ?? 3} className="h-28" />;
  if (state === 'failed') {
    return <CallProblem error={error} provider={PROVIDER} onRetry={() => start(request)} />;
  }
  return (
    <div className="space-y-3">
      <div role="status">
        <h2 className="font-semibold">
          {results.length === 0 ? texts.results.none : texts.results.found(results.length)}
        </h2>
      </div>
      <ul className="space-y-3">
        {results.map((result, place) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: two results may have one address, and none moves
          <li key={place}>
            <ResultCard result={result} />
          </li>
        ))}
      </ul>
    </div>
  );
}

function ResultCard({ result }: { result: ResearchResult }) {
  const address = webAddress(result.url);
  const title = text(result.title) ?? address?.hostname ?? texts.results.untitled;
  const date = dateOf(result.publishedDate);
  const excerpt = excerptOf(result);
  return (
    <Card className="space-y-1.5">
      <h3 className="font-semibold">
        {address ? (
          <a
            href={address.href}
            target="_blank"
            rel="noreferrer noopener"
            className="text-brand underline-offset-2 hover:underline"
          >
            {title}
            <span className="sr-only"> ({texts.keyParts.opensElsewhere})</span>
          </a>
        ) : (
          title
        )}
      </h3>
      <p className="flex flex-wrap items-center gap-x-2 text-ink-soft text-sm">
        <Globe aria-hidden="true" className="size-3.5" />
        <span className="break-all">{address?.hostname ?? text(result.url)}</span>
        {date && <span>· {date}</span>}
      </p>
      {excerpt && <p className="line-clamp-3 text-sm">{excerpt}</p>}
    </Card>
  );
}

/** null for what is no page: nothing else may stand behind a link. */
export function webAddress(url: unknown): URL | null {
  if (typeof url !== 'string' || !URL.canParse(url)) return null;
  const address = new URL(url);
  return address.protocol === 'https:' || address.protocol === 'http:' ? address : null;
}

function dateOf(published: unknown): string | null {
  const time = typeof published === 'string' ? new Date(published) : null;
  if (!time || Number.isNaN(time.getTime())) return null;
  // A day without a time: the same one in every zone.
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' }).format(time);
}

/** Exa sends one of these, or none. */
function excerptOf(result: ResearchResult): string | null {
  const { summary, highlights, text: whole } = result;
  const first = Array.isArray(highlights) ? highlights[0] : null;
  return text(summary) ?? text(first) ?? text(whole)?.slice(0, 400) ?? null;
}

function isRecord(value: unknown): value is ResearchResult {
  return typeof value === 'object' && value !== null;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value.trim() ? value.trim() : null;
}
