import { type GenerateRequest, KeyfoldError, type TokenUsage } from '@keyfold/client';
import { Square } from 'lucide-react';
import { useCallback, useLayoutEffect, useRef, useState } from 'react';
import { useClient } from '@/session/client';
import { Button } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { CopyButton } from '@/shared/ui/copy-button';
import { texts } from '@/texts';
import { useOneCall } from './call';
import { CallProblem } from './call-problem';

const DEFAULT_PROVIDER = 'gemini';

interface Progress {
  state: 'idle' | 'running' | 'done' | 'stopped' | 'failed';
  request: GenerateRequest | null;
  text: string;
  /** As the provider names it; null before the end. */
  model: string | null;
  /** null before the end. */
  usage: TokenUsage | null;
  error: unknown;
}

export interface Generation extends Progress {
  /** Ends the one that runs, if there is one. */
  start: (request: GenerateRequest) => void;
  /** Ends it at the provider too; what came so far stays. */
  stop: () => void;
}

const IDLE: Progress = { state: 'idle', request: null, text: '', model: null, usage: null, error: null };

/** One streamed generation at a time. It is stopped when the view goes. */
export function useGeneration(): Generation {
  const client = useClient();
  const { begin, stop: end, over } = useOneCall();
  const [progress, setProgress] = useState(IDLE);

  const start = useCallback(
    async (request: GenerateRequest) => {
      const signal = begin();
      /** What still comes of a call that was stopped, or that another one has followed, changes nothing. */
      const change = (part: (before: Progress) => Partial<Progress>) =>
        setProgress((before) =>
          before.request === request && before.state === 'running' ? { ...before, ...part(before) } : before,
        );
      setProgress({ ...IDLE, state: 'running', request });
      try {
        for await (const event of client.generateStream(request, { signal })) {
          if (event.type === 'delta') change(({ text }) => ({ text: text + event.text }));
          else change(() => ({ state: 'done', model: event.model, usage: event.usage }));
        }
      } catch (error) {
        change(() => ({ state: 'failed', error }));
      }
      over();
    },
    [client, begin, over],
  );
  const stop = useCallback(() => {
    end();
    setProgress((before) => (before.state === 'running' ? { ...before, state: 'stopped' } : before));
  }, [end]);
  return { ...progress, start, stop };
}

/** The text as it comes, and how it ended. Nothing before the first start. */
export function StreamedAnswer({ generation }: { generation: Generation }) {
  const { state, text, request, error, start, stop } = generation;
  const section = useKeptInSight(state);
  if (!request) return null;
  const isRunning = state === 'running';
  return (
    <Card
      ref={section}
      tabIndex={-1}
      aria-label={texts.results.answer}
      className="scroll-mb-24 space-y-3 outline-none"
    >
      <div className="flex min-h-8 items-center justify-between gap-2">
        <h2 className="font-semibold">{texts.results.answer}</h2>
        {isRunning && (
          <Button
            size="small"
            icon={<Square aria-hidden="true" className="size-3 fill-current" />}
            onClick={stop}
          >
            {texts.results.stop}
          </Button>
        )}
        {!isRunning && text && <CopyButton text={text} label={texts.results.copyAnswer} />}
      </div>
      {/* Read out as a whole when it is complete, not word by word. */}
      <div aria-live="polite" aria-busy={isRunning} className="min-h-6 whitespace-pre-wrap leading-relaxed">
        {text || <Nothing state={state} />}
      </div>
      <p role="status" className="sr-only">
        {isRunning && texts.results.answering}
      </p>
      {state === 'stopped' && <p className="text-ink-soft text-sm">{texts.results.stopped}</p>}
      {state === 'failed' && (
        <CallProblem
          error={error}
          provider={request.provider ?? DEFAULT_PROVIDER}
          title={text && texts.results.cutTitle}
          onRetry={isWorthRepeating(error) ? () => start(request) : undefined}
        />
      )}
      {state === 'done' && <Used generation={generation} />}
    </Card>
  );
}

function Nothing({ state }: { state: Progress['state'] }) {
  if (state === 'running') return <span className="text-ink-soft">{texts.results.waiting}</span>;
  if (state === 'done') return <span className="text-ink-soft">{texts.results.empty}</span>;
  return null;
}

function Used({ generation: { model, usage } }: { generation: Generation }) {
  return (
    <p className="flex flex-wrap gap-x-3 border-line border-t pt-3 text-ink-soft text-sm">
      <span className="font-mono">{model}</span>
      <span>{texts.results.tokens(usage?.input_tokens ?? null, usage?.output_tokens ?? null)}</span>
    </p>
  );
}

/** Whether the same request may fare better another time. */
function isWorthRepeating(error: unknown): boolean {
  const status = error instanceof KeyfoldError ? error.status : null;
  return status === null || ![400, 401, 403, 404, 413, 422].includes(status);
}

/**
 * What begins below the screen is brought onto it. The stop button goes when there is nothing to stop; who stood on it
 * goes on from the answer.
 */
function useKeptInSight(state: Progress['state']) {
  const section = useRef<HTMLElement>(null);
  const before = useRef(state);
  useLayoutEffect(() => {
    const hasBegun = before.current === 'idle' && state === 'running';
    const hasEnded = before.current === 'running' && state !== 'running';
    before.current = state;
    if (hasBegun) section.current?.scrollIntoView?.({ block: 'nearest' });
    if (hasEnded && document.activeElement === document.body) section.current?.focus({ preventScroll: true });
  }, [state]);
  return section;
}
