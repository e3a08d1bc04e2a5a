import { useQueryClient } from '@tanstack/react-query';
import { useCallback, useState } from 'react';

/** What somebody types, kept while they look at other views. It goes with the page, and is nobody else's. */
export function useDraft(name: string, initial = ''): [string, (text: string) => void] {
  const queries = useQueryClient();
  const [text, setText] = useState(() => queries.getQueryData<string>(['draft', name]) ?? initial);
  const change = useCallback(
    (typed: string) => {
      setText(typed);
      queries.setQueryDefaults(['draft'], { gcTime: Number.POSITIVE_INFINITY });
      queries.setQueryData(['draft', name], typed);
    },
    [queries, name],
  );
  return [text, change];
}
