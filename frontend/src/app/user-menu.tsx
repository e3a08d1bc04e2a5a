import { LogOut } from 'lucide-react';
import { isOfLocalMode, useSession } from '@/session/session';
import { Button } from '@/shared/ui/button';
import { texts } from '@/texts';

/** Who is signed in, and the way out. Local mode has neither. */
export function UserMenu() {
  const { kind, user, signOut } = useSession();
  if (!user || isOfLocalMode(kind)) return null;
  return (
    <div className="flex items-center gap-1">
      <span className="hidden max-w-40 truncate text-ink-soft text-sm lg:block">
        {user.name ?? user.email ?? user.id}
      </span>
      <Button
        kind="quiet"
        size="small"
        icon={<LogOut aria-hidden="true" className="size-4" />}
        onClick={() => signOut()}
      >
        {texts.common.signOut}
      </Button>
    </div>
  );
}
