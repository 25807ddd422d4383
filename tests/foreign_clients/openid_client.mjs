// openid-client 6 against an engine of ours: every way of authenticating that it has, through login, refresh,
// introspection and revocation. Started by tests/foreign_clients.rs, which registers the keys that are printed first.
import { createInterface } from "node:readline";
import { webcrypto } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

globalThis.crypto ??= webcrypto; // Node.js 18
const [, , issuer, modules] = process.argv;
const { resolve } = createRequire(pathToFileURL(`${modules}/`));
const load = (name) => import(pathToFileURL(resolve(name)));
const client = await load("openid-client");
const { createRemoteJWKSet, jwtVerify } = await load("jose");
const { subtle } = globalThis.crypto;

const rsa = (name, hash) => ({ name, hash, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) });
const kinds = {
  Ed25519: { name: "Ed25519" },
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  ES384: { name: "ECDSA", namedCurve: "P-384" },
  ES512: { name: "ECDSA", namedCurve: "P-521" },
  RS256: rsa("RSASSA-PKCS1-v1_5", "SHA-256"),
  RS384: rsa("RSASSA-PKCS1-v1_5", "SHA-384"),
  RS512: rsa("RSASSA-PKCS1-v1_5", "SHA-512"),
  PS256: rsa("RSA-PSS", "SHA-256"),
  PS384: rsa("RSA-PSS", "SHA-384"),
  PS512: rsa("RSA-PSS", "SHA-512"),
};
const pairs = {};
for (const [name, algorithm] of Object.entries(kinds)) {
  pairs[name] = await subtle.generateKey(algorithm, true, ["sign", "verify"]);
}
// The public halves as Web Crypto exports them, with `key_ops`, `ext` and, where it writes one, `alg`.
const exported = {};
for (const [name, pair] of Object.entries(pairs)) {
  exported[name] = await subtle.exportKey("jwk", pair.publicKey);
}
console.log(JSON.stringify(exported));

const secrets = {};
for await (const line of createInterface({ input: process.stdin })) {
  Object.assign(secrets, JSON.parse(line));
  break;
}

const ways = Object.entries(pairs).flatMap(([name, { privateKey }]) => [
  [name, client.PrivateKeyJwt(privateKey)],
  [name, client.PrivateKeyJwt({ key: privateKey, kid: name })],
]);
ways.push(
  [secrets.basic.id, client.ClientSecretBasic(secrets.basic.secret)],
  [secrets.post.id, client.ClientSecretPost(secrets.post.secret)],
  [secrets.jwt.id, client.ClientSecretJwt(secrets.jwt.secret)],
  [secrets.none.id, client.None()],
);

const check = (holds, what) => {
  if (!holds) throw new Error(what);
};
for (const [id, authentication] of ways) {
  const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };
  const config = await client.discovery(new URL(issuer), id, undefined, authentication, options);
  const scope = "profile offline_access";
  const login = await client.genericGrantRequest(config, "password", { username: "alice", password: "wonderland", scope });
  check(login.token_type === "bearer" && login.scope === scope, `${id}: ${JSON.stringify(login)}`);

  const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
  const expected = { issuer, audience: "https://api.example.com", typ: "at+jwt", algorithms: ["ES256"] };
  const { payload } = await jwtVerify(login.access_token, keys, expected);
  check(payload.client_id === id && payload.sub === "user-1", `${id}: ${JSON.stringify(payload)}`);

  const refreshed = await client.refreshTokenGrant(config, login.refresh_token);
  check(refreshed.refresh_token !== login.refresh_token, `${id}: the refresh token is the same`);
  const active = async (token) => (await client.tokenIntrospection(config, token)).active;
  const isPublic = id === secrets.none.id;
  check(isPublic || (await active(refreshed.access_token)), `${id}: not active`);
  await client.tokenRevocation(config, refreshed.refresh_token);
  check(isPublic || !(await active(refreshed.access_token)), `${id}: active after it was revoked`);

  const wrong = client.genericGrantRequest(config, "password", { username: "alice", password: "guess" });
  const error = await wrong.then(() => "none", (refusal) => refusal.error);
  check(error === "invalid_grant", `${id}: ${error} for a wrong password`);
  console.log(`${id}: ok`);
}
