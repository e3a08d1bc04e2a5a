import { forgetCopilotKitKey } from './copilotkit-key';

const CHANNEL = 'keyfold-session';

/** At sign-out: takes away what this browser keeps of the user, and tells the other tabs. */
export function leaveBrowser() {
  forgetCopilotKitKey();
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage('signed-out');
  channel.close();
}

/** Calls when another tab signs out; gives back what ends that. */
export function onSignOutElsewhere(then: () => void): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }) => {
    if (data === 'signed-out') then();
  };
  return () => channel.close();
}
