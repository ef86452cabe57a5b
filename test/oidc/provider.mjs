// An OpenID provider on loopback, with new keys at each start:
//
//     node provider.mjs PORT        says "listening" when it is
//
// Anyone may log in under any name (the pages of devInteractions).  For the resource
// urn:shop:ALG it issues access tokens that are signed by ALG.
import { generateKeyPairSync } from 'node:crypto';

import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

function key(members, ...kind) {
  const { privateKey } = generateKeyPairSync(...kind);
  return { ...privateKey.export({ format: 'jwk' }), ...members };
}

const run = Date.now();
const keys = [
  key({ kid: `rs-${run}`, use: 'sig', alg: 'RS256' }, 'rsa', { modulusLength: 2048 }),
  key({ kid: `es-${run}`, use: 'sig' }, 'ec', { namedCurve: 'P-256' }),
  key({ kid: `ed-${run}`, use: 'sig' }, 'ed25519'),
  key({ kid: `wide-${run}`, use: 'sig' }, 'ec', { namedCurve: 'P-384' }),
  key({ kid: `wraps-${run}`, use: 'enc' }, 'rsa', { modulusLength: 2048 }),
];

const provider = new Provider(issuer, {
  jwks: { keys },
  clients: [{
    client_id: 'shop',
    client_secret: 'a secret of this test alone',
    redirect_uris: ['http://127.0.0.1/done'],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_post',
  }],
  cookies: { keys: ['a key of this test alone'] },
  features: {
    devInteractions: { enabled: true },
    encryption: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (context, resource) => ({
        scope: 'order',
        audience: 'checkout',
        accessTokenTTL: 600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: resource.split(':')[2] } },
      }),
      useGrantedResource: () => true,
    },
  },
});

provider.listen(port, '127.0.0.1', () => console.log('listening'));
