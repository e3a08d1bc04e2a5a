import type { Provider } from '@keyfold/client';
import type { SaveResult } from '@/parts/key-actions';
import { outcomeOfSaved } from '@/parts/key-outcome';
import type { Outcome } from '@/parts/outcome';
import { nameOf } from '@/parts/provider-name';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';

/** What was saved a moment ago, where it went, and what should be known of it. */
export function SavedNotice({
  saved,
  providers,
}: {
  saved: readonly SaveResult[];
  providers: readonly Provider[];
}) {
  const outcomes = saved.flatMap((result) =>
    'saved' in result ? [{ id: result.provider, ...outcomeOfSaved(result.saved) }] : [],
  );
  if (outcomes.length === 0) return null;
  const has = (wanted: Outcome['tone'][]) => outcomes.some(({ tone }) => wanted.includes(tone));
  const tone = has(['warn', 'bad']) ? 'warn' : has(['info']) ? 'info' : 'good';
  return (
    <Notice tone={tone} live title={texts.setupParts.saved.title(outcomes.length)}>
      <ul className="space-y-1">
        {outcomes.map(({ id, title, lines }) => (
          <li key={id}>
            <span className="font-medium">{nameOf(providers, id)}:</span> {[title, ...lines].join(' ')}
          </li>
        ))}
      </ul>
    </Notice>
  );
}
