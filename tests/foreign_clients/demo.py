"""requests-oauthlib and Authlib against a running demo server: its clients by every method that they are registered
for, login, refresh, revocation, introspection, discovery, and the libraries' own types for our errors.

demo.py <issuer> <folder of the demo's keys>
"""

import os
import sys

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from joserfc.jwk import ECKey
from oauthlib.oauth2 import LegacyApplicationClient
from oauthlib.oauth2.rfc6749 import errors
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as RequestsSession

issuer, keys = sys.argv[1:]
metadata = requests.get(f"{issuer}/.well-known/oauth-authorization-server").json()
assert metadata["issuer"] == issuer, metadata
token_url = metadata["token_endpoint"]
ALICE = {"username": "alice", "password": "wonderland"}
OFFLINE = "profile offline_access"


def refused(call, *kinds):
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError(f"not refused with {kinds}")


def requests_oauthlib(client_id, secret, by_basic, refreshes):
    scope = OFFLINE.split() if refreshes else ["profile"]
    session = RequestsSession(client=LegacyApplicationClient(client_id=client_id, scope=scope))
    how = {"include_client_id": True}
    if by_basic:
        how = {"auth": HTTPBasicAuth(client_id, secret)}
    elif secret:
        how["client_secret"] = secret
    token = session.fetch_token(token_url, **ALICE, **how)
    assert token["token_type"] == "Bearer" and sorted(token["scope"]) == sorted(scope), token
    assert session.get(f"{issuer}/api/me").json()["sub"] == "user-1"
    wrong = {**ALICE, "password": "guess"}
    refused(lambda: session.fetch_token(token_url, **wrong, **how), errors.InvalidGrantError)
    if refreshes:
        refresh = {"auth": how["auth"]} if by_basic else {"client_id": client_id}
        if secret and not by_basic:
            refresh["client_secret"] = secret
        old = token["refresh_token"]
        new = session.refresh_token(token_url, refresh_token=old, **refresh)
        assert new["refresh_token"] != old
    print(f"requests-oauthlib as {client_id}: ok")


requests_oauthlib("web", "web-secret", True, True)
requests_oauthlib("web", "web-secret", False, True)
requests_oauthlib("mobile", None, False, True)
stranger = RequestsSession(client=LegacyApplicationClient(client_id="web"))
wrong = {"auth": HTTPBasicAuth("web", "wrong")}
refused(lambda: stranger.fetch_token(token_url, **ALICE, **wrong), errors.InvalidClientError)
beyond = RequestsSession(client=LegacyApplicationClient(client_id="web", scope=["canary"]))
right = {"auth": HTTPBasicAuth("web", "web-secret")}
refused(lambda: beyond.fetch_token(token_url, **ALICE, **right), errors.InvalidScopeError)


def authlib(client_id, secret, method, refreshes, register=None):
    scope = OFFLINE if refreshes else "profile"
    session = OAuth2Session(
        client_id,
        secret,
        scope=scope,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )
    if register:
        session.register_client_auth_method(register)
    token = session.fetch_token(token_url, grant_type="password", **ALICE)
    assert token["scope"] == scope, token
    assert session.get(f"{issuer}/api/me").json()["client_id"] == client_id
    wrong = {**ALICE, "password": "guess"}
    error = refused(
        lambda: session.fetch_token(token_url, grant_type="password", **wrong), OAuthError
    )
    assert error.error == "invalid_grant", error
    if refreshes:
        new = session.refresh_token(token_url, refresh_token=token["refresh_token"])
        assert new["refresh_token"] != token["refresh_token"]
        revoked = session.revoke_token(metadata["revocation_endpoint"], new["refresh_token"])
        assert revoked.status_code == 200, revoked.text
        error = refused(
            lambda: session.refresh_token(token_url, refresh_token=new["refresh_token"]), OAuthError
        )
        assert error.error == "invalid_grant", error
    print(f"Authlib as {client_id} by {method}: ok")


key = ECKey.import_key(open(f"{keys}/backend-es256.pem").read())
authlib("web", "web-secret", "client_secret_basic", True)
authlib("web", "web-secret", "client_secret_post", True)
authlib("mobile", None, "none", True)
partner = "partner-secret-partner-secret-0123"
authlib("partner", partner, "client_secret_jwt", False, ClientSecretJWT(token_url))
private = PrivateKeyJWT(token_url, headers={"kid": "backend-1"}, alg="ES256")
authlib("backend", key, "private_key_jwt", True, private)
reports = OAuth2Session("reports", "reports-secret")
asked = reports.introspect_token(metadata["introspection_endpoint"], token="unknown")
assert asked.json() == {"active": False}, asked.text
