import type { Provider } from '@keyfold/client';
import { KeyRound, Sparkles } from 'lucide-react';
import { type FormEvent, type KeyboardEvent, useRef, useState } from 'react';
import { useDraft } from '@/parts/draft';
import { type Generation, StreamedAnswer } from '@/parts/streamed-answer';
import { Link } from '@/shared/navigation';
import { Button, buttonLook } from '@/shared/ui/button';
import { Empty } from '@/shared/ui/empty';
import { Select } from '@/shared/ui/select';
import { TextArea } from '@/shared/ui/text-field';
import { texts } from '@/texts';
import { ModelField } from './model-field';

type Props = { providers: Provider[]; generation: Generation };

/** A prompt, and its answer as it comes. */
export function GeneratePanel({ providers, generation }: Props) {
  const writers = providers.filter((provider) => provider.generates);
  if (writers.length === 0) return <NoKey />;
  return (
    <div className="space-y-6">
      <PromptForm writers={writers} generation={generation} />
      <StreamedAnswer generation={generation} />
    </div>
  );
}

function PromptForm({ writers, generation }: { writers: Provider[]; generation: Generation }) {
  const words = texts.tryIt.generate;
  const [prompt, setPrompt] = useDraft('prompt');
  const [system, setSystem] = useDraft('system');
  const [chosen, setChosen] = useDraft('provider');
  const [model, setModel] = useDraft('model');
  const [isMissing, setMissing] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const provider = writers.find(({ id }) => id === chosen) ?? writers[0];
  if (!provider) return null;

  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (generation.state === 'running') return;
    setMissing(!prompt.trim());
    if (!prompt.trim()) {
      event.currentTarget.querySelector('textarea')?.focus();
      return;
    }
    generation.start({
      prompt,
      provider: provider.id,
      ...(model.trim() ? { model: model.trim() } : {}),
      ...(system.trim() ? { system: system.trim() } : {}),
    });
  };
  const sendByKey = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.current?.requestSubmit();
  };
  const write = (text: string) => {
    setPrompt(text);
    setMissing(false);
  };
  return (
    <form ref={form} onSubmit={send} onKeyDown={sendByKey} className="space-y-4">
      <TextArea
        label={words.prompt}
        placeholder={words.placeholder}
        value={prompt}
        onChange={(event) => write(event.target.value)}
        hint={words.hint}
        error={isMissing && words.missing}
      />
      {!prompt && <Examples onChoose={write} />}
      <div className="grid gap-4 sm:grid-cols-2">
        <div className="space-y-1.5">
          <label htmlFor="try-it-provider" className="block font-medium text-sm">
            {words.provider}
          </label>
          <Select
            id="try-it-provider"
            className="w-full"
            value={provider.id}
            onChange={(event) => {
              setChosen(event.target.value);
              setModel('');
            }}
          >
            {writers.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </Select>
        </div>
        <ModelField key={provider.id} provider={provider} value={model} onChange={setModel} />
      </div>
      <details className="text-sm">
        <summary className="w-fit cursor-pointer rounded font-medium text-ink-soft">
          {words.instructions}
        </summary>
        <TextArea
          className="mt-3"
          label={<span className="sr-only">{words.instructions}</span>}
          hint={words.instructionsHint}
          value={system}
          onChange={(event) => setSystem(event.target.value)}
        />
      </details>
      <Button
        type="submit"
        kind="primary"
        busy={generation.state === 'running'}
        icon={<Sparkles aria-hidden="true" className="size-4" />}
        className="w-full sm:w-auto"
      >
        {words.send}
      </Button>
    </form>
  );
}

function Examples({ onChoose }: { onChoose: (prompt: string) => void }) {
  const { examples, example } = texts.tryIt.generate;
  return (
    <ul aria-label={examples} className="flex flex-wrap gap-2">
      {example.map((prompt) => (
        <li key={prompt}>
          <button
            type="button"
            onClick={() => onChoose(prompt)}
            className="min-h-8 rounded-full border border-line bg-surface px-3 py-1 text-left text-ink-soft text-sm transition-colors hover:border-line-strong hover:text-ink"
          >
            {prompt}
          </button>
        </li>
      ))}
    </ul>
  );
}

function NoKey() {
  const { emptyTitle, emptyText, addKey } = texts.tryIt.generate;
  return (
    <Empty
      icon={<KeyRound aria-hidden="true" className="size-6" />}
      title={emptyTitle}
      action={
        <Link to="/keys" className={buttonLook('primary')}>
          {addKey}
        </Link>
      }
    >
      {emptyText}
    </Empty>
  );
}
