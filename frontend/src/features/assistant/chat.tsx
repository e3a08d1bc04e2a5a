import '@copilotkit/react-ui/styles.css';
import './chat.css';
import { CopilotKit } from '@copilotkit/react-core';
import { CopilotChat } from '@copilotkit/react-ui';
import { useState } from 'react';
import { Notice } from '@/shared/ui/notice';
import { texts } from '@/texts';

/** CopilotKit's own chat. It sends the key to its cloud in the header `X-CopilotCloud-Public-Api-Key`. */
export function Chat({ publicKey }: { publicKey: string }) {
  const [hasFailed, setFailed] = useState(false);
  const { placeholder, title, welcome, failed } = texts.assistant;
  return (
    <div className="flex h-full flex-col">
      {hasFailed && (
        <div className="p-4">
          <Notice tone="warn" live>
            {failed}
          </Notice>
        </div>
      )}
      <CopilotKit
        publicApiKey={publicKey}
        showDevConsole={false}
        enableInspector={false}
        onError={() => setFailed(true)}
      >
        <CopilotChat className="min-h-0 flex-1" labels={{ title, initial: welcome, placeholder }} />
      </CopilotKit>
    </div>
  );
}
