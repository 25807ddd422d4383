//! The verifier of access tokens, by signature (RFC 9068) or by look-up, and the challenges that it
//! refuses with (RFC 6750 section 3).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::environment::Environment;
use crate::error::BoxError;
use crate::event::{self, AccessFault, Event, EventKind};
use crate::http::{HttpResponse, challenge};
use crate::jose::{Algorithm, NumericDate, VerificationKeys};
use crate::resource::bearer::BearerRequest;
use crate::resource::claims::read_jwt;
use crate::session::Revocations;
use crate::time::{BoxFuture, Timestamp};
use crate::types::context::RequestContext;
use crate::types::scope::is_scope;
use crate::types::token::{TokenDetails, is_b64token};

/// Decides whether a request may use a protected resource ([RFC 6750]), by its access token.
///
/// A refusal is a complete response with the challenge that the RFC requires, so that a few lines
/// protect a route. Cheap to clone.
///
/// ```
/// use password_grant::resource::BearerRequest;
/// use password_grant::{AccessTokenVerifier, Algorithm, HttpResponse, SigningKeys};
///
/// # let keys = SigningKeys::generate()?;
/// let verifier = AccessTokenVerifier::new(
///     "https://id.example.com",     // the issuer
///     "https://api.example.com",    // the audience: this resource server
///     [Algorithm::Es256],           // the algorithms; nothing else is tried
///     keys.verification_keys()?,    // VerificationKeys::from_jwks elsewhere
/// )?;
///
/// async fn orders(
///     verifier: &AccessTokenVerifier,
///     request: BearerRequest<'_>,
/// ) -> Result<String, HttpResponse> {
///     let token = verifier.authorize(request, "orders:read").await?;
///     Ok(format!("the orders of {}", token.subject))
/// }
/// # Ok::<(), password_grant::BoxError>(())
/// ```
///
/// [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750
#[derive(Clone)]
pub struct AccessTokenVerifier {
    issuer: Arc<str>,
    audience: Arc<str>,
    source: Source,
    revocations: Option<Revocations>,
    skew: Duration,
    environment: Environment,
}

/// Why an [`AccessTokenVerifier`] cannot be made: it would refuse every token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// The issuer is empty.
    #[error("the issuer is empty: it is the one that the engine was built with")]
    EmptyIssuer,
    /// The audience is empty.
    #[error("the audience is empty: it names this resource server, usually by its URL")]
    EmptyAudience,
    /// No algorithm is given.
    #[error("no algorithm is given: name the one that the issuer's key signs with")]
    NoAlgorithm,
    /// There is no key for one of the algorithms.
    #[error("there is no key for the algorithm {}", .0.as_str())]
    NoKey(Algorithm),
}

/// Where the details of a token come from.
#[derive(Clone)]
enum Source {
    Signature { algorithms: Arc<[Algorithm]>, keys: Arc<VerificationKeys> },
    Lookup(Arc<dyn TokenLookup>),
}

/// Looks up the details of tokens that do not carry them.
#[async_trait]
pub trait TokenLookup: Send + Sync + 'static {
    /// The details of this token, or `None` if it is unknown. `token` has at most 8 KiB and only
    /// the characters of RFC 6750 section 2.1; otherwise it is raw. The verifier checks issuer,
    /// audience and expiry.
    ///
    /// # Errors
    ///
    /// If the answer is not known now. The caller gets 503.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await.
    async fn look_up(&self, token: &str) -> Result<Option<TokenDetails>, BoxError>;
}

impl<T: TokenLookup + ?Sized> TokenLookup for Arc<T> {
    fn look_up<'a, 'b, 'c>(
        &'a self,
        token: &'b str,
    ) -> BoxFuture<'c, Result<Option<TokenDetails>, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        (**self).look_up(token)
    }
}

/// The details of a token that has been verified. Only a verifier can make one.
#[derive(Debug, Clone)]
pub struct VerifiedToken(TokenDetails);

impl Deref for VerifiedToken {
    type Target = TokenDetails;

    fn deref(&self) -> &TokenDetails {
        &self.0
    }
}

impl VerifiedToken {
    /// Returns the details.
    #[must_use]
    pub fn into_details(self) -> TokenDetails {
        self.0
    }
}

impl AccessTokenVerifier {
    /// Verifies JWT access tokens ([RFC 9068 section 4]) of this issuer and for this audience,
    /// signed with one of these algorithms by one of these keys. Issuer and audience are compared
    /// byte for byte with what the engine was built with: `https://id.example.com/` is not
    /// `https://id.example.com`.
    ///
    /// For the tokens of an engine in the same process,
    /// [`PasswordGrant::verifier`](crate::PasswordGrant::verifier) makes a verifier that has all of
    /// this from the engine.
    ///
    /// # Errors
    ///
    /// If issuer or audience is empty, if no algorithm is given, or one for which there is no key.
    ///
    /// [RFC 9068 section 4]: https://www.rfc-editor.org/rfc/rfc9068#section-4
    pub fn new(
        issuer: impl Into<Arc<str>>,
        audience: impl Into<Arc<str>>,
        algorithms: impl IntoIterator<Item = Algorithm>,
        keys: VerificationKeys,
    ) -> Result<Self, VerifierError> {
        let algorithms: Arc<[Algorithm]> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(VerifierError::NoAlgorithm);
        }
        if let Some(without) = algorithms.iter().find(|algorithm| !keys.has(**algorithm)) {
            return Err(VerifierError::NoKey(*without));
        }
        let source = Source::Signature { algorithms, keys: Arc::new(keys) };
        Self::with_source(issuer.into(), audience.into(), source)
    }

    /// Verifies tokens by look-up, such as those of an
    /// [`OpaqueIssuer`](crate::token::OpaqueIssuer).
    ///
    /// # Errors
    ///
    /// If issuer or audience is empty.
    pub fn by_lookup(
        issuer: impl Into<Arc<str>>,
        audience: impl Into<Arc<str>>,
        lookup: impl TokenLookup,
    ) -> Result<Self, VerifierError> {
        Self::with_source(issuer.into(), audience.into(), Source::Lookup(Arc::new(lookup)))
    }

    fn with_source(
        issuer: Arc<str>,
        audience: Arc<str>,
        source: Source,
    ) -> Result<Self, VerifierError> {
        if issuer.is_empty() {
            return Err(VerifierError::EmptyIssuer);
        }
        if audience.is_empty() {
            return Err(VerifierError::EmptyAudience);
        }
        let (skew, environment) = (Duration::from_secs(30), Environment::new());
        Ok(Self { issuer, audience, source, revocations: None, skew, environment })
    }

    /// The clock skew: how much the clocks of issuer and resource server may differ. A token is
    /// accepted for that much longer than it is valid, and that much earlier. Default: 30 s. More
    /// than 60 s counts as 60 s.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew.min(Duration::from_secs(60));
        self
    }

    /// The clock and the observer; see [`Environment`](crate::Environment).
    #[must_use]
    pub fn environment(mut self, environment: &Environment) -> Self {
        self.environment = environment.clone();
        self
    }

    /// Refuses tokens that were revoked before they expired: alone, with their session, or because
    /// their subject was logged out. Each token costs a read of the engine's
    /// [`StateStore`](crate::state::StateStore). Tokens of another issuer than the engine's are
    /// then all refused.
    ///
    /// Without it, a token is accepted until it expires. A resource server that does not share the
    /// engine's store can use the introspection endpoint instead
    /// ([`IntrospectedTokens`](crate::resource::IntrospectedTokens)).
    #[must_use]
    pub fn revocations(mut self, revocations: Revocations) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// Verifies a request to a route that any valid token may use.
    ///
    /// # Errors
    ///
    /// The response to send: 401 with a challenge, 400 for a malformed request, 503 if the token
    /// cannot be judged.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so the future may be dropped at any time.
    pub async fn authenticate<'r>(
        &self,
        request: impl Into<BearerRequest<'r>>,
    ) -> Result<VerifiedToken, HttpResponse> {
        let request = request.into();
        let token = match request.token() {
            Ok(token) => self.read(token).await,
            Err(fault) => Err(fault.into()),
        };
        token.map_err(|refusal| self.answer(&refusal, "", &request))
    }

    /// Verifies a request to a route that requires this scope: one scope token, or several with a
    /// space between them, and the access token needs all of them. If `scope` is not a valid scope,
    /// such as an empty setting, every token is refused.
    ///
    /// # Errors
    ///
    /// The same as those of [`authenticate`](Self::authenticate), and 403 if the token's scope does
    /// not suffice.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so the future may be dropped at any time.
    pub async fn authorize<'r>(
        &self,
        request: impl Into<BearerRequest<'r>>,
        scope: &str,
    ) -> Result<VerifiedToken, HttpResponse> {
        let request = request.into();
        let judged = self.judge(request, scope).await;
        judged.map_err(|refusal| self.answer(&refusal, scope, &request))
    }

    /// Verifies a token (raw) that the host did not receive in a header.
    ///
    /// # Errors
    ///
    /// The reason for which the token is refused.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so the future may be dropped at any time.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, AccessFault> {
        self.read(token).await.map_err(|refusal| {
            self.observe(&refusal, None);
            refusal.fault
        })
    }

    async fn read(&self, token: &str) -> Result<VerifiedToken, Refusal> {
        if !is_b64token(token) {
            return Err(AccessFault::NotOurs.into());
        }
        let details = match &self.source {
            Source::Signature { algorithms, keys } => read_jwt(token, algorithms, keys)?,
            Source::Lookup(lookup) => match lookup.look_up(token).await {
                Ok(found) => found.ok_or(AccessFault::NotOurs)?,
                Err(cause) => return Err(Refusal::server_fault(cause)),
            },
        };
        if let Err(fault) = self.check(&details) {
            return Err(Refusal::of_token(fault, details));
        }
        if let Some(revocations) = &self.revocations {
            match revocations.status(&details).await {
                Ok(status) if status.fault.is_some() => {
                    return Err(Refusal::of_token(AccessFault::Revoked, details));
                }
                Ok(_) => {}
                Err(cause) => return Err(Refusal::server_fault(cause)),
            }
        }
        Ok(VerifiedToken(details))
    }

    async fn judge(
        &self,
        request: BearerRequest<'_>,
        scope: &str,
    ) -> Result<VerifiedToken, Refusal> {
        let token = self.read(request.token()?).await?;
        // An invalid scope, such as an empty setting, is never satisfied.
        let sufficient =
            is_scope(scope) && scope.split(' ').all(|needed| token.scope.contains(needed));
        if sufficient { Ok(token) } else { Err(Refusal::of_token(AccessFault::Scope, token.0)) }
    }

    fn check(&self, details: &TokenDetails) -> Result<(), AccessFault> {
        let of_another_engine = |revocations: &Revocations| *revocations.issuer != *details.issuer;
        if details.issuer != *self.issuer
            || self.revocations.as_ref().is_some_and(of_another_engine)
        {
            return Err(AccessFault::Issuer);
        }
        if !details.audiences.iter().any(|audience| **audience == *self.audience) {
            return Err(AccessFault::Audience);
        }
        if details.claims.contains_key("cnf") {
            return Err(AccessFault::Bound);
        }
        let now = self.environment.clock.now();
        if Timestamp::from_unix_seconds(details.expires_at) <= now.minus(self.skew) {
            return Err(AccessFault::Expired);
        }
        let not_before = match details.claims.get("nbf") {
            None => 0,
            Some(nbf) => NumericDate::read(nbf).ok_or(AccessFault::NotOurs)?.rounded_up(),
        };
        let valid_from = details.issued_at.max(details.valid_from).max(not_before);
        if Timestamp::from_unix_seconds(valid_from) > now.plus(self.skew) {
            return Err(AccessFault::NotYetValid);
        }
        Ok(())
    }

    fn observe(&self, refusal: &Refusal, context: Option<&RequestContext>) {
        let details = refusal.details.as_deref();
        event::observe(
            &*self.environment.observer,
            &Event {
                subject: details.map(|details| &details.subject),
                client_id: details.map(|details| &details.client_id),
                session_id: details.and_then(|details| details.session_id.as_ref()),
                token_id: details.map(|details| details.token_id.as_str()),
                scope: details.map(|details| &details.scope),
                cause: refusal.cause.as_deref().map(|cause| cause as _),
                context,
                ..Event::new(EventKind::AccessRefused(refusal.fault))
            },
        );
    }

    /// Observes a refusal and makes the response of it: the one place where both happen.
    fn answer(&self, refusal: &Refusal, scope: &str, request: &BearerRequest<'_>) -> HttpResponse {
        self.observe(refusal, Some(&request.context()));
        let fault = refusal.fault;
        let (status, error, description) = match fault {
            AccessFault::NoToken => {
                return HttpResponse::empty(401)
                    .with("cache-control", "no-store")
                    .with("www-authenticate", challenge("Bearer", &[("realm", &self.issuer)]));
            }
            AccessFault::Malformed => {
                (400, "invalid_request", "The request carries its access token in a wrong way")
            }
            AccessFault::Scope => {
                (403, "insufficient_scope", "The access token's scope does not suffice")
            }
            AccessFault::ServerFault => {
                (503, "temporarily_unavailable", "The access token cannot be checked at the moment")
            }
            AccessFault::NotOurs
            | AccessFault::Issuer
            | AccessFault::Audience
            | AccessFault::Expired
            | AccessFault::NotYetValid
            | AccessFault::Revoked
            | AccessFault::Bound => {
                (401, "invalid_token", "The access token is expired, malformed, or not valid here")
            }
        };
        let body = serde_json::to_vec(&ErrorBody { error, error_description: description })
            .unwrap_or_default();
        let answer = HttpResponse::private_json(status, body);
        if status == 503 {
            return answer.with_retry_after(1);
        }
        let mut parameters =
            vec![("realm", &*self.issuer), ("error", error), ("error_description", description)];
        if fault == AccessFault::Scope {
            parameters.push(("scope", scope));
        }
        answer.with("www-authenticate", challenge("Bearer", &parameters))
    }
}

/// Why a request is refused, and what is known about its token.
struct Refusal {
    fault: AccessFault,
    /// What the token says, if it is genuine.
    details: Option<Box<TokenDetails>>,
    cause: Option<BoxError>,
}

impl Refusal {
    fn of_token(fault: AccessFault, details: TokenDetails) -> Self {
        Self { fault, details: Some(Box::new(details)), cause: None }
    }

    fn server_fault(cause: BoxError) -> Self {
        Self { fault: AccessFault::ServerFault, details: None, cause: Some(cause) }
    }
}

impl From<AccessFault> for Refusal {
    fn from(fault: AccessFault) -> Self {
        Self { fault, details: None, cause: None }
    }
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    error_description: &'static str,
}

impl fmt::Debug for AccessTokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokenVerifier")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
