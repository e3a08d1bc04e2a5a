import type { ComponentProps } from 'react';
import { Link as Base, Redirect as BaseRedirect, useLocation } from 'wouter';

export { useSearch, useSearchParams } from 'wouter';

/** Every address of the page. `app/views.tsx` says what is there. */
export type Path =
  | '/'
  | '/onboarding'
  | '/keys'
  | '/keys/$provider'
  | '/try'
  | '/activity'
  | '/account'
  | '/sign-in'
  | '/callback';

type Target = {
  to: Path;
  /** For the parts of the path that begin with a dollar sign. */
  params?: Record<string, string>;
  search?: Record<string, string>;
};

/** The address as a browser has it. */
export function addressOf({ to, params = {}, search = {} }: Target): string {
  const path = to.replace(/\$(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
  const query = new URLSearchParams(search).toString();
  return query ? `${path}?${query}` : path;
}

type LinkProps = Target & Omit<ComponentProps<'a'>, 'href'>;

/** A link to another view. Says to everybody, also to those who hear the page, when it is the present one. */
export function Link({ to, params, search, ...rest }: LinkProps) {
  const path = usePath();
  const address = addressOf({ to, ...(params && { params }), ...(search && { search }) });
  const isHere = to !== '/' && !search && (path === to || path.startsWith(`${to}/`));
  return <Base aria-current={isHere ? 'page' : undefined} {...rest} href={address} />;
}

/** Goes elsewhere at once, without leaving a step to come back to. */
export function Redirect(target: Target) {
  return <BaseRedirect to={addressOf(target)} replace />;
}

/** The same for an address that was asked for; `ownPath` has seen to it that it is one of this page. */
export function RedirectToAddress({ address }: { address: string }) {
  return <BaseRedirect to={address} replace />;
}

export function useGo(): (target: Target, options?: { replace?: boolean }) => void {
  const [, navigate] = useLocation();
  return (target, options) => navigate(addressOf(target), options);
}

/** The present path, without what was searched for. */
export function usePath(): string {
  return useLocation()[0];
}
