import type { UsageOfDay } from '@keyfold/client';
import { texts } from '@/texts';
import { lastDays, roundedUp, type Series, seriesOf } from './figures';

const COLOURS = [
  'fill-chart-1',
  'fill-chart-2',
  'fill-chart-3',
  'fill-chart-4',
  'fill-chart-5',
  'fill-chart-6',
];
const HEIGHT = 100;
/** Of a day's width. */
const BAR = 0.72;
const short = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', timeZone: 'UTC' });
const number = new Intl.NumberFormat();

type Props = { usage: UsageOfDay[]; days: number; nameOf: (id: string) => string };

/** Requests of each day, one part of the bar for each provider. */
export function UsageChart({ usage, days, nameOf }: Props) {
  const names = lastDays(days, new Date());
  const series = seriesOf(usage, names, COLOURS.length);
  const label = ({ provider }: Series) =>
    provider === null ? texts.activity.usage.others : nameOf(provider);
  const sums = names.map((_, place) => series.reduce((sum, { perDay }) => sum + (perDay[place] ?? 0), 0));
  const highest = Math.max(...sums);
  const top = roundedUp(highest);
  const busiest = names[sums.indexOf(highest)];
  const summary = texts.activity.usage.chart(
    days,
    sums.reduce((sum, day) => sum + day, 0),
    series.map((one) => [label(one), one.total]),
    highest > 0 && busiest ? short.format(new Date(busiest)) : null,
  );
  return (
    <figure className="space-y-3">
      <div className="flex h-40 gap-2">
        <div
          aria-hidden="true"
          className="-my-2 flex min-w-6 flex-col justify-between text-right text-ink-soft text-xs tabular-nums leading-4"
        >
          <span>{number.format(top)}</span>
          <span>{number.format(top / 2)}</span>
          <span>0</span>
        </div>
        <svg
          role="img"
          aria-label={summary}
          viewBox={`0 0 ${days} ${HEIGHT}`}
          preserveAspectRatio="none"
          className="h-full min-w-0 flex-1 overflow-visible"
        >
          <Grid days={days} />
          {names.map((day, place) => {
            const parts = stacked(series, place, top);
            const told = [
              short.format(new Date(day)),
              ...parts.map((part) => `${label(part.series)} ${number.format(part.count)}`),
            ];
            return (
              <g key={day} className="group">
                <title>{told.join('\n')}</title>
                <rect
                  x={place}
                  y={0}
                  width={1}
                  height={HEIGHT}
                  className="fill-transparent group-hover:fill-sunken"
                />
                {parts.map((part) => (
                  <rect
                    key={part.series.provider ?? ''}
                    x={place + (1 - BAR) / 2}
                    y={part.y}
                    width={BAR}
                    height={part.height}
                    className={part.colour}
                  />
                ))}
              </g>
            );
          })}
        </svg>
      </div>
      <div aria-hidden="true" className="flex justify-between pl-8 text-ink-soft text-xs">
        {[0, Math.floor((days - 1) / 2), days - 1].map((place) => (
          <span key={place}>{short.format(new Date(names[place] ?? 0))}</span>
        ))}
      </div>
      <figcaption className="flex flex-wrap gap-x-4 gap-y-1 text-sm">
        {series.map((one, place) => (
          <span key={one.provider ?? ''} className="inline-flex items-center gap-1.5">
            <svg aria-hidden="true" viewBox="0 0 10 10" className="size-2.5">
              <rect width={10} height={10} rx={2} className={COLOURS[place]} />
            </svg>
            {label(one)} <span className="text-ink-soft tabular-nums">{number.format(one.total)}</span>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function Grid({ days }: { days: number }) {
  return [0, HEIGHT / 2, HEIGHT].map((y) => (
    <line
      key={y}
      x1={0}
      x2={days}
      y1={y}
      y2={y}
      vectorEffect="non-scaling-stroke"
      className="stroke-line"
      strokeWidth={1}
    />
  ));
}

function stacked(series: Series[], place: number, top: number) {
  let above = HEIGHT;
  return series.flatMap((one, rank) => {
    const count = one.perDay[place] ?? 0;
    if (count === 0) return [];
    const height = (count / top) * HEIGHT;
    above -= height;
    return [{ series: one, count, y: above, height, colour: COLOURS[rank] }];
  });
}
