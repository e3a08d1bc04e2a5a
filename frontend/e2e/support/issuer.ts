// A certified OpenID provider (the package oidc-provider) with a page of its own to sign in.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider } from 'oidc-provider';

export const CLIENT_ID = 'keyfold-page';
export const AUDIENCE = 'https://keyfold.test/api';

export interface OpenIdProvider {
  url: string;
  /** Tokens live for an hour from now on, instead of ten minutes. */
  lengthenTokens: () => void;
  /** Ends everybody's session at the issuer, as an administrator would. */
  endSessions: () => void;
  /** People can sign in again. */
  letIn: () => void;
  stop: () => Promise<void>;
}

/** Lets people sign in to the page at this address. */
export async function startIssuer(page: string): Promise<OpenIdProvider> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  let lifetime = 600;
  const provider = new Provider(url, {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'test' }] },
    clients: [
      {
        client_id: CLIENT_ID,
        redirect_uris: [`${page}/callback`],
        post_logout_redirect_uris: [`${page}/`],
        grant_types: ['authorization_code'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
      },
    ],
    clientBasedCORS: () => true,
    cookies: { keys: ['test data'] },
    claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
    conformIdTokenClaims: false,
    features: {
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: '',
          audience: AUDIENCE,
          accessTokenTTL: lifetime,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: `Tester ${id}`, email: `${id}@example.com` }),
    }),
  });
  const answer = provider.callback();
  let areSessionsEnded = false;
  server.on('request', (request, response) => {
    if (areSessionsEnded) request.headers.cookie = '';
    answer(request, response);
  });
  return {
    url,
    lengthenTokens: () => {
      lifetime = 3600;
    },
    endSessions: () => {
      areSessionsEnded = true;
    },
    letIn: () => {
      areSessionsEnded = false;
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
