//! A benchmark case for sessions: logins with and without a refresh token, and the later uses of
//! tokens. Tokens are signed with HS256 and there are no attempt limits, so that the measured part
//! is most of the work.

use std::hint::black_box;

use password_grant::testing::InMemoryClients;
use password_grant::{
    AccessTokenVerifier, AccountGate, Admission, Algorithm, AuthenticatedClient, BoxError, Client,
    ClientSecret, Environment, Grant, HttpRequest, HttpResponse, JwtIssuer, PasswordGrant,
    RefreshKeys, RefreshTokens, RequestContext, Subject, async_trait,
};

use super::keys::KeyPair;
use super::{AUDIENCE, CLIENT_ID, CLIENT_SECRET, HEADERS, ISSUER, TrivialUser, block_on};

/// Admits everybody.
struct OpenGate;

#[async_trait]
impl AccountGate for OpenGate {
    async fn admit(
        &self,
        _: &Subject,
        _: &AuthenticatedClient,
        _: &RequestContext,
    ) -> Result<Admission, BoxError> {
        Ok(Admission::admitted())
    }
}

pub struct SessionCase {
    grant: PasswordGrant,
    pub verifier: AccessTokenVerifier,
    /// The same verifier, which also asks for the revocation status.
    pub revoking_verifier: AccessTokenVerifier,
}

impl SessionCase {
    pub fn new() -> Self {
        let keys = KeyPair::generate(Algorithm::Hs256).signing_keys();
        let verifying = || {
            let keys = keys.verification_keys().expect("keys");
            AccessTokenVerifier::new(ISSUER, AUDIENCE, [Algorithm::Hs256], keys)
                .expect("a verifier")
                .environment(&Environment::new().observer(()))
        };
        let client = Client::confidential(CLIENT_ID, ClientSecret::digest_of(CLIENT_SECRET))
            .grants([Grant::Password, Grant::RefreshToken])
            .scope("profile offline_access".parse().expect("a scope"));
        let refresh = RefreshTokens::new(RefreshKeys::new([7; 32]).expect("a key"), OpenGate);
        let grant = PasswordGrant::builder(
            ISSUER,
            InMemoryClients::new([client]),
            TrivialUser::new(),
            JwtIssuer::new(keys.clone(), AUDIENCE),
        );
        let grant = grant
            .environment(&Environment::new().observer(()))
            .dangerous_without_attempt_limits()
            .refresh_tokens(refresh)
            .build();
        let grant = grant.expect("an engine");
        let revoking_verifier = verifying().revocations(grant.revocations());
        Self { grant, verifier: verifying(), revoking_verifier }
    }

    /// The access token of a login without a refresh token.
    pub fn login_without(&self) -> String {
        self.ask(
            "grant_type=password&username=alice&password=wonderland&scope=profile",
            "access_token",
        )
    }

    /// The refresh token of a login. Its user soon has as many sessions as are allowed, so that
    /// each login replaces a session.
    pub fn login(&self) -> String {
        self.ask(
            "grant_type=password&username=alice&password=wonderland&scope=profile+offline_access",
            "refresh_token",
        )
    }

    /// Refreshes, and returns the next refresh token.
    pub fn refresh(&self, token: &str) -> String {
        self.ask(&format!("grant_type=refresh_token&refresh_token={token}"), "refresh_token")
    }

    /// Introspects an active token as the client that it was issued to.
    pub fn introspect(&self, token: &str) -> u16 {
        let form = format!("token={token}");
        let answer = block_on(self.grant.introspect(HttpRequest::new(
            "POST",
            None,
            HEADERS,
            form.as_bytes(),
        )));
        assert!(answer.body().starts_with(br#"{"active":true"#));
        answer.status()
    }

    fn ask(&self, form: &str, member: &str) -> String {
        let request = HttpRequest::new("POST", None, HEADERS, black_box(form.as_bytes()));
        text(&block_on(self.grant.token(request)), member)
    }
}

/// Cuts the member out of the text, since the time of a parser would be measured too.
fn text(answer: &HttpResponse, member: &str) -> String {
    assert_eq!(answer.status(), 200);
    let body = std::str::from_utf8(answer.body()).expect("JSON");
    let (_, rest) = body.split_once(&format!("\"{member}\":\"")).expect("the member");
    rest.split('"').next().expect("its value").to_owned()
}
