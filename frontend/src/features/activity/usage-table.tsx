import type { UsageOfDay } from '@keyfold/client';
import { texts } from '@/texts';

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' });
const number = new Intl.NumberFormat();

type Props = { usage: UsageOfDay[]; nameOf: (id: string) => string };

/** What the chart shows, and more, for those who read it. */
export function UsageTable({ usage, nameOf }: Props) {
  const words = texts.activity.usage;
  return (
    <details className="text-sm">
      <summary className="w-fit cursor-pointer rounded font-medium text-ink-soft">{words.table}</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <section tabIndex={0} aria-label={words.table} className="mt-3 max-h-96 overflow-auto rounded-lg">
        <table className="w-full min-w-lg text-left tabular-nums">
          <thead className="sticky top-0 bg-surface text-ink-soft">
            <tr className="border-line border-b">
              <th className="py-2 pr-4 font-medium">{words.day}</th>
              <th className="py-2 pr-4 font-medium">{words.provider}</th>
              <th className="py-2 pr-4 text-right font-medium">{words.requests}</th>
              <th className="py-2 pr-4 text-right font-medium">{words.errors}</th>
              <th className="py-2 pr-4 text-right font-medium">{words.input}</th>
              <th className="py-2 text-right font-medium">{words.output}</th>
            </tr>
          </thead>
          <tbody>
            {usage.map((row) => (
              <tr key={`${row.day} ${row.provider}`} className="border-line border-b last:border-0">
                <td className="whitespace-nowrap py-2 pr-4">{day.format(new Date(row.day))}</td>
                <td className="py-2 pr-4">{nameOf(row.provider)}</td>
                <td className="py-2 pr-4 text-right">{number.format(row.requests)}</td>
                <td className="py-2 pr-4 text-right">{number.format(row.errors)}</td>
                <td className="py-2 pr-4 text-right">{number.format(row.input_tokens)}</td>
                <td className="py-2 text-right">{number.format(row.output_tokens)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  );
}
