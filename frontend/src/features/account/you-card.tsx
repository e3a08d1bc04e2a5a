import { isOfLocalMode, useSession } from '@/session/session';
import { Card } from '@/shared/ui/card';
import { texts } from '@/texts';

/** Who the requests are made as. */
export function YouCard() {
  const { kind, user } = useSession();
  const words = texts.account.you;
  if (!user) return null;
  const isLocal = isOfLocalMode(kind);
  const facts = [
    [words.name, user.name],
    [words.email, user.email],
    [words.id, user.id],
  ].filter(([, value]) => value);
  return (
    <Card aria-labelledby="you-title" className="space-y-3">
      <h2 id="you-title" className="font-semibold text-lg">
        {words.title}
      </h2>
      <dl className="grid gap-x-6 gap-y-2 text-sm sm:grid-cols-[auto_1fr]">
        {facts.map(([name, value]) => (
          <div key={name} className="sm:contents">
            <dt className="text-ink-soft">{name}</dt>
            <dd className="break-all font-medium">{value}</dd>
          </div>
        ))}
      </dl>
      <p className="text-ink-soft text-sm">
        {isLocal ? (kind === 'token' ? words.localToken : words.local) : words.kept}
      </p>
    </Card>
  );
}
