import { classes } from '@/shared/classes';

const TINTS = [
  'bg-tint-1-soft text-tint-1',
  'bg-tint-2-soft text-tint-2',
  'bg-tint-3-soft text-tint-3',
  'bg-tint-4-soft text-tint-4',
  'bg-tint-5-soft text-tint-5',
  'bg-tint-6-soft text-tint-6',
];
const SIZES = {
  small: 'size-8 rounded-lg text-xs',
  usual: 'size-10 rounded-xl text-sm',
  large: 'size-12 rounded-xl',
};

type Props = { id: string; name: string; size?: keyof typeof SIZES };

/** A plain sign for a provider, nobody's trademark. Its tint is the same everywhere. */
export function ProviderMark({ id, name, size = 'usual' }: Props) {
  return (
    <span
      aria-hidden="true"
      className={classes(
        'inline-flex shrink-0 select-none items-center justify-center font-semibold tracking-tight',
        SIZES[size],
        TINTS[tintOf(id)],
      )}
    >
      {initials(name)}
    </span>
  );
}

/** Of the name's first two words, which may be written together: GG, OA, E. */
function initials(name: string): string {
  const words = name.match(/[A-Z]?[a-z]+|[A-Z]+/g) ?? [name];
  return words
    .slice(0, 2)
    .map((word) => word.charAt(0).toUpperCase())
    .join('');
}

function tintOf(id: string): number {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.charCodeAt(0)) % 9973;
  return sum % TINTS.length;
}
