import { Component, type ReactNode } from 'react';

type Props = { failed: ReactNode | ((again: () => void) => ReactNode); children: ReactNode };

/** Keeps a part that cannot be shown from taking the rest of the page with it. */
export class Boundary extends Component<Props, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override render() {
    const { failed, children } = this.props;
    if (!this.state.hasFailed) return children;
    return typeof failed === 'function' ? failed(() => this.setState({ hasFailed: false })) : failed;
  }
}
