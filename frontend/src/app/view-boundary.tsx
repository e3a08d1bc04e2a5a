import { Component, type ReactNode } from 'react';

type Props = { failed: ReactNode; children: ReactNode };

/** Keeps a view that cannot be shown from taking the whole page with it. */
export class ViewBoundary extends Component<Props, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override render() {
    return this.state.hasFailed ? this.props.failed : this.props.children;
  }
}
