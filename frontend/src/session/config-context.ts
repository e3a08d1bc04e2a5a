import { createContext, useContext } from 'react';
import type { PublicConfig } from './config';

const ConfigContext = createContext<PublicConfig | null>(null);
export const ConfigProvider = ConfigContext.Provider;

export function useConfig(): PublicConfig {
  const config = useContext(ConfigContext);
  if (!config) throw new Error('useConfig stands outside of ConfigProvider');
  return config;
}
