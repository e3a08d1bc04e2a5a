// A certified OpenID provider (the package oidc-provider) with a page of its own to sign in.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider } from 'oidc-provider';

export const CLIENT_ID = 'keyfold-page';
export const AUDIENCE = 'https://keyfold.test/api';

export interface OpenIdProvider {
  url: string;
  /** Where its pages are and tokens are given out. */
  endpoints: string;
  /** Tokens live for an hour from now on, instead of ten minutes. */
  lengthenTokens: () => void;
  /** Ends everybody's session at the issuer, as an administrator would. */
  endSessions: () => void;
  /** People can sign in again. */
  letIn: () => void;
  stop: () => Promise<void>;
}

/** How an issuer differs from the usual one. */
export interface IssuerOptions {
  /** People sign in and get their tokens on another origin than the issuer's own, as at Google and Cognito. */
  isSpread?: boolean;
}

/** Lets people sign in to the page at this address. */
export async function startIssuer(page: string, { isSpread }: IssuerOptions = {}): Promise<OpenIdProvider> {
  const server = await listen();
  const elsewhere = isSpread ? await listen() : null;
  const servers = elsewhere ? [server, elsewhere] : [server];
  const url = addressOf(server);
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
  if (elsewhere) {
    const moved = (endpoint: string) => endpoint.replace(url, addressOf(elsewhere));
    provider.use(async (context, next) => {
      await next();
      if (context.path !== '/.well-known/openid-configuration') return;
      const { authorization_endpoint: authorization, token_endpoint: token } = context.body;
      Object.assign(context.body, {
        authorization_endpoint: moved(authorization),
        token_endpoint: moved(token),
      });
    });
  }
  const answer = provider.callback();
  let areSessionsEnded = false;
  for (const one of servers) {
    one.on('request', (request, response) => {
      if (areSessionsEnded) request.headers.cookie = '';
      // Browsers ask for it by themselves, and tell of it in their console.
      if (request.url === '/favicon.ico') response.writeHead(204).end();
      else answer(request, response);
    });
  }
  return {
    url,
    endpoints: addressOf(elsewhere ?? server),
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
      for (const one of servers) {
        one.closeAllConnections();
        one.close();
        await once(one, 'close');
      }
    },
  };
}

async function listen(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
