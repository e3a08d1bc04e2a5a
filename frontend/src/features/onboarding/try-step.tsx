import type { KeyList, Provider } from '@keyfold/client';
import { type FormEvent, useState } from 'react';
import { isUsable } from '@/parts/key-status-badge';
import { ResearchResults, useResearch } from '@/parts/research-results';
import { StreamedAnswer, useGeneration } from '@/parts/streamed-answer';
import { Link } from '@/shared/navigation';
import { Button, buttonLook } from '@/shared/ui/button';
import { Card } from '@/shared/ui/card';
import { Notice } from '@/shared/ui/notice';
import { ProblemNotice } from '@/shared/ui/problem-notice';
import { Select } from '@/shared/ui/select';
import { inputLook, TextField } from '@/shared/ui/text-field';
import { useWork } from '@/shared/use-work';
import { texts } from '@/texts';
import { useOnboardingActions } from './actions';
import { BackLink } from './back-link';

const words = texts.setupParts.tryIt;

type Props = {
  number: number;
  /** Whether the step counts as one of its own, and not as the end. */
  isOwnStep: boolean;
  providers: readonly Provider[];
  keys: KeyList;
  onDone: () => void;
};

/** Shows what works by doing it: a streamed generation and a search, with the user's own keys. */
export function TryStep({ number, isOwnStep, providers, keys, onDone }: Props) {
  const [hasTried, setTried] = useState(false);
  const { finish } = useOnboardingActions();
  const finishing = useWork(() => finish(isOwnStep && hasTried ? number : null).then(onDone));
  const usable = providers.filter(({ id }) => keys.keys.some((key) => key.provider === id && isUsable(key)));
  const researcher = providers.find(({ researches }) => researches);
  return (
    <div className="space-y-6">
      <div>
        <h2 className="font-semibold text-lg">{words.title}</h2>
        <p className="text-ink-soft">{words.text}</p>
      </div>
      <div className="grid items-start gap-6 lg:grid-cols-2">
        <Generate generators={usable.filter(({ generates }) => generates)} onTried={() => setTried(true)} />
        {researcher && (
          <Search
            researcher={researcher}
            hasKey={usable.includes(researcher)}
            onTried={() => setTried(true)}
          />
        )}
      </div>
      <ProblemNotice error={finishing.error} />
      <div className="flex flex-wrap gap-2">
        <Button
          kind={hasTried ? 'primary' : 'plain'}
          busy={finishing.isRunning}
          onClick={() => finishing.run()}
        >
          {hasTried ? words.finish : words.finishUntried}
        </Button>
        <BackLink step={number - 1} />
      </div>
    </div>
  );
}

function Generate({ generators, onTried }: { generators: readonly Provider[]; onTried: () => void }) {
  const generation = useGeneration();
  const [prompt, setPrompt] = useState(words.samplePrompt);
  const [chosen, setChosen] = useState<string | null>(null);
  const provider =
    generators.find(({ id }) => id === chosen) ??
    generators.find(({ required }) => required) ??
    generators[0];
  const send = (event: FormEvent) => {
    event.preventDefault();
    if (!provider || prompt.trim() === '') return;
    generation.start({ prompt, provider: provider.id });
    onTried();
  };
  return (
    <div className="min-w-0 space-y-4">
      <Card aria-labelledby="try-generation">
        <form onSubmit={send} className="space-y-3">
          <h3 id="try-generation" className="font-semibold">
            {words.ask}
          </h3>
          {provider ? (
            <>
              <label className="block space-y-1.5">
                <span className="block font-medium text-sm">{words.prompt}</span>
                <textarea
                  value={prompt}
                  onChange={(event) => setPrompt(event.target.value)}
                  rows={3}
                  className={inputLook}
                />
              </label>
              <div className="flex flex-wrap items-center gap-2">
                <Button
                  type="submit"
                  kind={generation.state === 'idle' ? 'primary' : 'plain'}
                  busy={generation.state === 'running'}
                >
                  {generation.state === 'idle' ? words.send : words.sendAgain}
                </Button>
                {generators.length > 1 ? (
                  <Select
                    aria-label={words.provider}
                    value={provider.id}
                    onChange={(event) => setChosen(event.target.value)}
                  >
                    {generators.map(({ id, name }) => (
                      <option key={id} value={id}>
                        {name}
                      </option>
                    ))}
                  </Select>
                ) : (
                  <span className="text-ink-soft text-sm">{provider.name}</span>
                )}
              </div>
            </>
          ) : (
            <Notice tone="warn">{words.noGenerator}</Notice>
          )}
        </form>
      </Card>
      <StreamedAnswer generation={generation} />
    </div>
  );
}

function Search({
  researcher,
  hasKey,
  onTried,
}: {
  researcher: Provider;
  hasKey: boolean;
  onTried: () => void;
}) {
  const research = useResearch();
  const [query, setQuery] = useState(words.sampleQuery);
  const search = (event: FormEvent) => {
    event.preventDefault();
    if (query.trim() === '') return;
    research.start({ query, num_results: 3 });
    onTried();
  };
  return (
    <div className="min-w-0 space-y-4">
      <Card aria-labelledby="try-research">
        <form onSubmit={search} className="space-y-3">
          <h3 id="try-research" className="font-semibold">
            {words.research}
          </h3>
          {hasKey ? (
            <>
              <TextField
                label={words.query}
                value={query}
                onChange={(event) => setQuery(event.target.value)}
              />
              <Button
                type="submit"
                kind={research.state === 'idle' ? 'primary' : 'plain'}
                busy={research.state === 'running'}
              >
                {research.state === 'idle' ? words.search : words.searchAgain}
              </Button>
            </>
          ) : (
            <>
              <p className="text-ink-soft text-sm">{words.noResearcher(researcher.name)}</p>
              <Link to="/onboarding" search={{ step: '1' }} className={buttonLook('plain', 'small')}>
                {words.addKey}
              </Link>
            </>
          )}
        </form>
      </Card>
      <ResearchResults research={research} />
    </div>
  );
}
