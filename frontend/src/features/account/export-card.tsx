import { Download } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { useClient } from '@/session/client';
import { Button } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { texts } from '@/texts';
import { collect, download } from './export';

type State =
  | { name: 'idle' }
  | { name: 'working'; events: number }
  | { name: 'done'; file: string; events: number }
  | { name: 'failed'; error: unknown };

export function ExportCard() {
  const words = texts.account.export;
  const { state, start, stop } = useExport();
  const isWorking = state.name === 'working';
  return (
    <Card aria-labelledby="export-title" className="space-y-3">
      <h2 id="export-title" className="font-semibold text-lg">
        {words.title}
      </h2>
      <p className="text-ink-soft text-sm">{words.text}</p>
      <div className="flex flex-wrap items-center gap-3">
        <Button busy={isWorking} icon={<Download aria-hidden="true" className="size-4" />} onClick={start}>
          {words.action}
        </Button>
        {isWorking && (
          <Button kind="quiet" onClick={stop}>
            {words.stop}
          </Button>
        )}
        <p role="status" className="text-ink-soft text-sm">
          {isWorking && words.working(state.events)}
          {state.name === 'done' && words.done(state.file, state.events)}
        </p>
      </div>
      {state.name === 'failed' && <ProblemNotice error={state.error} onRetry={start} />}
    </Card>
  );
}

function useExport() {
  const client = useClient();
  const [state, setState] = useState<State>({ name: 'idle' });
  const current = useRef<AbortController | null>(null);
  useEffect(() => () => current.current?.abort(), []);

  const start = async () => {
    const work = new AbortController();
    current.current = work;
    setState({ name: 'working', events: 0 });
    try {
      const exported = await collect(client, work.signal, (events) => setState({ name: 'working', events }));
      setState({ name: 'done', file: download(exported), events: exported.activity.length });
    } catch (error) {
      setState(work.signal.aborted ? { name: 'idle' } : { name: 'failed', error });
    }
  };
  return { state, start, stop: () => current.current?.abort() };
}
