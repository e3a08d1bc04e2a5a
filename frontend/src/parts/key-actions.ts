import type { KeyfoldClient, SavedKey } from '@keyfold/client';
import { useClient } from '@/session/client';
import { COPILOTKIT, forgetCopilotKitKey, keepCopilotKitKey } from '@/session/copilotkit-key';
import { useSession } from '@/session/session';
import { useKeysChanged } from './queries';

export interface TypedKey {
  provider: string;
  key: string;
}

/** What came of saving one of several keys. */
export type SaveResult = { provider: string } & ({ saved: SavedKey } | { error: unknown });

/** What can be done with a key. None of it is kept where queries and mutations are: that would keep the key, too. */
export function useKeyActions() {
  const client = useClient();
  const { user } = useSession();
  const changed = useKeysChanged();
  const store = async ({ provider, key }: TypedKey) => {
    const saved = await client.keys.save(provider, key);
    if (provider === COPILOTKIT && user) keepCopilotKitKey(user.id, key);
    return saved;
  };
  return {
    /** `onStored` is called before anybody sees that the key is there. */
    save: async (typed: TypedKey, onStored?: () => void): Promise<SavedKey> => {
      const saved = await store(typed);
      onStored?.();
      await changed();
      return saved;
    },
    /** Saves all that can be saved; the others say why not. */
    saveAll: async (typed: TypedKey[]): Promise<SaveResult[]> => {
      const results = await Promise.all(typed.map((one) => resultOf(one.provider, store(one))));
      if (results.some((result) => 'saved' in result)) await changed();
      return results;
    },
    /** Asks the provider about a key that is not saved. */
    test: ({ provider, key }: TypedKey) => client.keys.validate(provider, key),
    testStored: (provider: string) => andThen(client.keys.validate(provider), changed),
    rollBack: (provider: string) => withoutBrowsersKey(provider, client.keys.rollBack(provider), changed),
    remove: (provider: string) => withoutBrowsersKey(provider, client.keys.remove(provider), changed),
  };
}

/** A verdict of the provider. */
export type Verdict = Awaited<ReturnType<KeyfoldClient['keys']['validate']>>;

async function resultOf(provider: string, saving: Promise<SavedKey>): Promise<SaveResult> {
  try {
    return { provider, saved: await saving };
  } catch (error) {
    return { provider, error };
  }
}

async function andThen<T>(work: Promise<T>, changed: () => Promise<unknown>): Promise<T> {
  const result = await work;
  await changed();
  return result;
}

/** The browser's own copy is another version's from now on, and no key ever comes back from the server. */
function withoutBrowsersKey<T>(
  provider: string,
  work: Promise<T>,
  changed: () => Promise<unknown>,
): Promise<T> {
  return andThen(work, () => {
    if (provider === COPILOTKIT) forgetCopilotKitKey();
    return changed();
  });
}
