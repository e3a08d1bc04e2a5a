import type { Provider } from '@keyfold/client';
import { Code } from 'lucide-react';
import { useId } from 'react';
import { useDraft } from '@/parts/draft';
import { useClient } from '@/session/client';
import { isOfLocalMode, useSession } from '@/session/session';
import { Link } from '@/shared/navigation';
import { buttonLook } from '@/shared/ui/button';
import { CodeBlock } from '@/shared/ui/code-block';
import { Empty } from '@/shared/ui/empty';
import { Select } from '@/shared/ui/select';
import { Tabs } from '@/shared/ui/tabs';
import { texts } from '@/texts';
import { type Callee, calleeOf, LANGUAGES, type Language, snippetsOf } from './snippets';

const PLACEHOLDER = 'YOUR_KEYFOLD_TOKEN';

/** The same calls for other people's programs. */
export function CodePanel({ providers }: { providers: Provider[] }) {
  const id = useId();
  const client = useClient();
  const { kind } = useSession();
  const words = texts.tryIt.code;
  const [chosen, setChosen] = useDraft('code-provider');
  // A key that browsers use is not called through the gateway by programs.
  const called = providers.filter((provider) => !provider.frontend_variable);
  const provider = called.find(({ id }) => id === chosen) ?? called[0];
  if (!provider) return <NoKey />;
  const hint = isOfLocalMode(kind) ? kind : 'user';
  return (
    <div className="space-y-5">
      <p className="max-w-2xl text-ink-soft text-sm">{words.lead}</p>
      <div className="max-w-sm space-y-1.5">
        <label htmlFor={id} className="block font-medium text-sm">
          {words.provider}
        </label>
        <Select
          id={id}
          className="w-full"
          value={provider.id}
          onChange={(event) => setChosen(event.target.value)}
        >
          {called.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </Select>
      </div>
      <Programs
        callee={calleeOf(provider, client.gatewayUrl(provider.id))}
        name={provider.name}
        needsToken={kind !== 'none'}
      />
      <p className="max-w-2xl text-ink-soft text-sm">{words.credential[hint]}</p>
    </div>
  );
}

function Programs({ callee, name, needsToken }: { callee: Callee; name: string; needsToken: boolean }) {
  const words = texts.tryIt.code;
  const [chosen, setChosen] = useDraft('code-language', LANGUAGES[0]);
  const language = LANGUAGES.find((known) => known === chosen) ?? LANGUAGES[0];
  const snippets = snippetsOf(callee, needsToken ? PLACEHOLDER : null);
  if (!snippets) {
    return (
      <div className="space-y-3">
        <p className="text-sm">{words.none(name)}</p>
        <CodeBlock code={callee.gateway} label={words.address} />
      </div>
    );
  }
  const tab = (language: Language) => ({
    value: language,
    label: words.language[language],
    content: <CodeBlock code={snippets[language]} label={words.snippet(name, words.language[language])} />,
  });
  return (
    <div className="space-y-5">
      <CodeBlock code={callee.gateway} label={words.address} />
      <Tabs
        label={words.languages}
        size="small"
        tabs={LANGUAGES.map(tab)}
        value={language}
        onChange={setChosen}
      />
    </div>
  );
}

function NoKey() {
  const { emptyTitle, emptyText } = texts.tryIt.code;
  return (
    <Empty
      icon={<Code aria-hidden="true" className="size-6" />}
      title={emptyTitle}
      action={
        <Link to="/keys" className={buttonLook('primary')}>
          {texts.tryIt.generate.addKey}
        </Link>
      }
    >
      {emptyText}
    </Empty>
  );
}
