/** In place of CopilotKit's inspector for developers, which is never opened here. */
export const WEB_INSPECTOR_TAG = 'cpk-web-inspector';
export const defineWebInspector = () => {};
