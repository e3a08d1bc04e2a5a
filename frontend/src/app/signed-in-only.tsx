import { Navigate, Outlet, useLocation } from '@tanstack/react-router';
import { useSession } from '@/session/session';

/** Views of a user. Others go to sign in, and come back to where they wanted to go. */
export function SignedInOnly() {
  const { user } = useSession();
  const { pathname } = useLocation();
  if (!user) return <Navigate to="/sign-in" search={{ to: pathname }} replace />;
  return <Outlet />;
}
