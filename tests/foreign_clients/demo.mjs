// oauth4webapi 3 and openid-client 6 against a running demo server: its clients by every method they are registered
// for, login, refresh, revocation, introspection, discovery, keys, and the libraries' own types for our errors.
// node demo.mjs <issuer> <node_modules> <folder of the demo's keys>
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

globalThis.crypto ??= webcrypto; // Node.js 18
const [, , issuer, modules, keys] = process.argv;
const { resolve } = createRequire(pathToFileURL(`${modules}/`));
const load = (name) => import(pathToFileURL(resolve(name)));
const [oauth, openid, jose] = [await load("oauth4webapi"), await load("openid-client"), await load("jose")];

const check = (holds, what) => {
  if (!holds) throw new Error(what);
};
const pem = readFileSync(`${keys}/backend-es256.pem`, "utf8").replace(/-----[^-]*-----|\s/g, "");
const p256 = { name: "ECDSA", namedCurve: "P-256" };
const key = await crypto.subtle.importKey("pkcs8", Buffer.from(pem, "base64"), p256, false, ["sign"]);
const PARTNER = "partner-secret-partner-secret-0123";
const audience = "https://api.example.com";

const insecure = { [oauth.allowInsecureRequests]: true };
const url = new URL(issuer);
const discovered = await oauth.discoveryRequest(url, { ...insecure, algorithm: "oauth2" });
const server = await oauth.processDiscoveryResponse(url, discovered);
const ways = [
  ["web", oauth.ClientSecretBasic("web-secret"), true],
  ["web", oauth.ClientSecretPost("web-secret"), true],
  ["odd:client", oauth.ClientSecretBasic("s3cr:t +%&=/?~"), false],
  ["mobile", oauth.None(), true],
  ["backend", oauth.PrivateKeyJwt({ key, kid: "backend-1" }), true],
  ["partner", oauth.ClientSecretJwt(PARTNER), false],
];
const alice = (more) => new URLSearchParams({ username: "alice", password: "wonderland", ...more });
for (const [client_id, authentication, refreshes] of ways) {
  const client = { client_id };
  const grant = (parameters) =>
    oauth.genericTokenEndpointRequest(server, client, authentication, "password", parameters, insecure);
  const granted = async (response) => oauth.processGenericTokenEndpointResponse(server, client, await response);
  const scope = refreshes ? "profile offline_access" : "profile";
  const login = await granted(grant(alice({ scope })));
  check(login.token_type === "bearer" && login.scope === scope, `${client_id}: ${JSON.stringify(login)}`);
  const request = new Request(`${issuer}/api/me`, { headers: { authorization: `Bearer ${login.access_token}` } });
  const claims = await oauth.validateJwtAccessToken(server, request, audience, insecure);
  check(claims.client_id === client_id && claims.sub === "user-1", `${client_id}: ${JSON.stringify(claims)}`);

  const resource = await oauth.protectedResourceRequest(
    login.access_token, "GET", new URL(`${issuer}/api/me`), undefined, undefined, insecure);
  check((await resource.json()).sub === "user-1", `${client_id}: /api/me`);
  const refusal = await oauth.protectedResourceRequest(
    "unknown", "GET", new URL(`${issuer}/api/me`), undefined, undefined, insecure).then(() => null, (error) => error);
  check(refusal instanceof oauth.WWWAuthenticateChallengeError, `${client_id}: ${refusal}`);
  check(refusal.cause[0].parameters.error === "invalid_token", `${client_id}: ${JSON.stringify(refusal.cause)}`);

  const wrong = await granted(grant(alice({ password: "guess" }))).then(() => null, (error) => error);
  check(wrong instanceof oauth.ResponseBodyError && wrong.error === "invalid_grant", `${client_id}: ${wrong}`);
  const beyond = await granted(grant(alice({ scope: "canary" }))).then(() => null, (error) => error);
  check(beyond instanceof oauth.ResponseBodyError && beyond.error === "invalid_scope", `${client_id}: ${beyond}`);

  if (refreshes) {
    const response = await oauth.refreshTokenGrantRequest(server, client, authentication, login.refresh_token, insecure);
    const refreshed = await oauth.processRefreshTokenResponse(server, client, response);
    check(refreshed.refresh_token !== login.refresh_token, `${client_id}: not rotated`);
    const revoked = await oauth.revocationRequest(server, client, authentication, refreshed.refresh_token, insecure);
    await oauth.processRevocationResponse(revoked);
    const again = await oauth.refreshTokenGrantRequest(
      server, client, authentication, refreshed.refresh_token, insecure);
    const ended = await oauth.processRefreshTokenResponse(server, client, again).then(() => null, (error) => error);
    check(ended?.error === "invalid_grant", `${client_id}: ${ended}`);
  }
  console.log(`oauth4webapi as ${client_id}: ok`);
}
const reports = { client_id: "reports" };
const asked = await oauth.introspectionRequest(
  server, reports, oauth.ClientSecretBasic("reports-secret"), "unknown", insecure);
check((await oauth.processIntrospectionResponse(server, reports, asked)).active === false, "introspection");
const stranger = oauth.ClientSecretPost("wrong");
const refused = await oauth.genericTokenEndpointRequest(
  server, { client_id: "web" }, stranger, "password", alice({}), insecure);
const error = await oauth.processGenericTokenEndpointResponse(server, { client_id: "web" }, refused)
  .then(() => null, (refusal) => refusal);
check(error instanceof oauth.WWWAuthenticateChallengeError || error.error === "invalid_client", `${error}`);

for (const [id, authentication, refreshes] of [
  ["web", openid.ClientSecretBasic("web-secret"), true],
  ["web", openid.ClientSecretPost("web-secret"), true],
  ["mobile", openid.None(), true],
  ["backend", openid.PrivateKeyJwt({ key, kid: "backend-1" }), true],
  ["partner", openid.ClientSecretJwt(PARTNER), false],
]) {
  const options = { algorithm: "oauth2", execute: [openid.allowInsecureRequests] };
  const config = await openid.discovery(url, id, undefined, authentication, options);
  const scope = refreshes ? "profile offline_access" : "profile";
  const login = await openid.genericGrantRequest(config, "password", { username: "alice", password: "wonderland", scope });
  const remote = jose.createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
  await jose.jwtVerify(login.access_token, remote, { issuer, audience, typ: "at+jwt", algorithms: ["ES256"] });
  if (refreshes) {
    const refreshed = await openid.refreshTokenGrant(config, login.refresh_token);
    await openid.tokenRevocation(config, refreshed.refresh_token);
    const ended = await openid.refreshTokenGrant(config, refreshed.refresh_token).then(() => null, (e) => e);
    check(ended instanceof openid.ResponseBodyError && ended.error === "invalid_grant", `${id}: ${ended}`);
  }
  console.log(`openid-client as ${id}: ok`);
}
