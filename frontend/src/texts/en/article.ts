/** The name with its article. */
export function article(name: string): string {
  return /^[AEIO]|^x/.test(name) ? `an ${name}` : `a ${name}`;
}
