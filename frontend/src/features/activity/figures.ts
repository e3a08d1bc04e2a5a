import type { UsageOfDay } from '@keyfold/client';

export interface Figures {
  requests: number;
  errors: number;
  input_tokens: number;
  output_tokens: number;
}

export function totalOf(usage: UsageOfDay[]): Figures {
  const total = { requests: 0, errors: 0, input_tokens: 0, output_tokens: 0 };
  for (const day of usage) {
    total.requests += day.requests;
    total.errors += day.errors;
    total.input_tokens += day.input_tokens;
    total.output_tokens += day.output_tokens;
  }
  return total;
}

/** A provider, or all those for which no colour is left, and its requests of each day. */
export interface Series {
  /** null stands for several. */
  provider: string | null;
  total: number;
  perDay: number[];
}

/** The last days up to today, the oldest first, as UTC names them. */
export function lastDays(count: number, now: Date): string[] {
  const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
  return Array.from({ length: count }, (_, place) =>
    new Date(today - (count - 1 - place) * 86_400_000).toISOString().slice(0, 10),
  );
}

/** Requests by provider, the busiest first; what is beyond `most` is put together. */
export function seriesOf(usage: UsageOfDay[], days: string[], most: number): Series[] {
  const places = new Map(days.map((day, place) => [day, place]));
  const found = new Map<string, Series>();
  for (const { provider, day, requests } of usage) {
    const place = places.get(day);
    if (place === undefined) continue;
    const series = found.get(provider) ?? { provider, total: 0, perDay: days.map(() => 0) };
    found.set(provider, series);
    series.total += requests;
    series.perDay[place] = (series.perDay[place] ?? 0) + requests;
  }
  const sorted = [...found.values()].sort((one, other) => other.total - one.total);
  if (sorted.length <= most) return sorted;
  const rest = sorted.slice(most - 1);
  const others: Series = {
    provider: null,
    total: rest.reduce((sum, { total }) => sum + total, 0),
    perDay: days.map((_, place) => rest.reduce((sum, { perDay }) => sum + (perDay[place] ?? 0), 0)),
  };
  return [...sorted.slice(0, most - 1), others];
}

/** A round number at or above the highest bar. */
export function roundedUp(highest: number): number {
  if (highest <= 4) return 4;
  const unit = 10 ** Math.floor(Math.log10(highest));
  const step = [1, 2, 4, 5, 8, 10].find((step) => step * unit >= highest) ?? 10;
  return step * unit;
}
