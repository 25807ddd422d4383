//! Access tokens that a resource server looks up at an introspection endpoint (RFC 7662).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::environment::Environment;
use crate::error::BoxError;
use crate::future::before;
use crate::http::form;
use crate::http::strict_json::strict_object;
use crate::jose::NumericDate;
use crate::resource::claims::strings;
use crate::resource::verifier::TokenLookup;
use crate::time::{BoxFuture, Timestamp};
use crate::types::digest::sha256;
use crate::types::secret::Secret;
use crate::types::token::TokenDetails;

/// Sends requests to an introspection endpoint with the host's own HTTP client; the crate does no
/// network I/O.
///
/// ```
/// use password_grant::resource::IntrospectionTransport;
/// use password_grant::{BoxError, async_trait};
/// # struct Http;
/// # impl Http {
/// #     async fn send(
/// #         &self,
/// #         _: &str,
/// #         _: &[(&str, &str)],
/// #         _: String,
/// #     ) -> Result<(u16, Vec<u8>), BoxError> {
/// #         Ok((200, vec![]))
/// #     }
/// # }
///
/// #[async_trait]
/// impl IntrospectionTransport for Http {
///     async fn post(
///         &self,
///         url: &str,
///         authorization: Option<&str>,
///         form: &str,
///     ) -> Result<(u16, Vec<u8>), BoxError> {
///         let mut headers = vec![
///             ("content-type", "application/x-www-form-urlencoded"),
///             ("accept", "application/json"),
///         ];
///         headers.extend(authorization.map(|value| ("authorization", value)));
///         self.send(url, &headers, form.to_owned()).await
///     }
/// }
/// ```
#[async_trait]
pub trait IntrospectionTransport: Send + Sync + 'static {
    /// Sends `form` by POST as `application/x-www-form-urlencoded`, with this `Authorization`
    /// header if there is one. Returns status and body. Use TLS, follow no redirects, and read no
    /// more than about 64 KiB.
    ///
    /// `authorization` and `form` hold secrets: do not log them.
    ///
    /// # Errors
    ///
    /// If there is no answer. The caller that sent the access token gets 503.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the [`timeout`](IntrospectedTokens::timeout) is over.
    async fn post(
        &self,
        url: &str,
        authorization: Option<&str>,
        form: &str,
    ) -> Result<(u16, Vec<u8>), BoxError>;
}

impl<T: IntrospectionTransport + ?Sized> IntrospectionTransport for Arc<T> {
    fn post<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        url: &'b str,
        authorization: Option<&'c str>,
        form: &'d str,
    ) -> BoxFuture<'e, Result<(u16, Vec<u8>), BoxError>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        (**self).post(url, authorization, form)
    }
}

/// Looks access tokens up by introspection ([RFC 7662]), for a resource server that must notice a
/// revocation at once, or whose tokens are opaque.
///
/// Only a clear answer admits a token. A status other than 200, a body that is no JSON object or
/// repeats a member, an answer that takes too long, and one without `iss`, `aud`, `sub`,
/// `client_id` or `exp` are all 503, and the verifier's observer receives the cause.
///
/// Each token that is not cached costs one request to the endpoint, whatever it is, so limit the
/// requests of callers that have not shown a valid token yet.
///
/// ```
/// use password_grant::resource::IntrospectedTokens;
/// use password_grant::AccessTokenVerifier;
/// # use password_grant::resource::IntrospectionTransport;
/// # use password_grant::{BoxError, async_trait};
/// # struct Http;
/// # #[async_trait]
/// # impl IntrospectionTransport for Http {
/// #     async fn post(
/// #         &self,
/// #         _: &str,
/// #         _: Option<&str>,
/// #         _: &str,
/// #     ) -> Result<(u16, Vec<u8>), BoxError> {
/// #         Ok((200, vec![]))
/// #     }
/// # }
/// # let http = Http;
///
/// let tokens = IntrospectedTokens::basic(
///     "https://id.example.com/oauth/introspect",
///     "reports",
///     "reports-secret",
///     http,
/// );
/// let verifier =
///     AccessTokenVerifier::by_lookup("https://id.example.com", "https://api.example.com", tokens)?;
/// # Ok::<(), password_grant::BoxError>(())
/// ```
///
/// [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
pub struct IntrospectedTokens {
    url: String,
    credentials: Credentials,
    transport: Arc<dyn IntrospectionTransport>,
    timeout: Duration,
    cached_for: Duration,
    environment: Environment,
    cache: Mutex<HashMap<[u8; 32], Cached>>,
}

enum Credentials {
    Basic { client_id: String, client_secret: Secret<'static> },
    Parameters(Box<Parameters>),
}

type Parameters = dyn Fn() -> Result<Vec<(String, String)>, BoxError> + Send + Sync;

struct Cached {
    details: TokenDetails,
    at: Timestamp,
}

impl Cached {
    /// A clock that is set back does not make an entry last longer.
    fn is_fresh(&self, now: Timestamp, span: Duration) -> bool {
        let age = now.since(self.at).max(self.at.since(now));
        age < span && now < Timestamp::from_unix_seconds(self.details.expires_at)
    }
}

/// The maximum size of an answer, in bytes.
const ANSWER: usize = 64 * 1024;
/// The maximum number of cached answers.
const CACHED: usize = 10_000;

impl IntrospectedTokens {
    /// Uses the endpoint at `url`, and authenticates as this client with HTTP Basic.
    #[must_use]
    pub fn basic(
        url: impl Into<String>,
        client_id: &str,
        client_secret: &str,
        transport: impl IntrospectionTransport,
    ) -> Self {
        let (client_id, client_secret) = (client_id.to_owned(), client_secret.to_owned());
        let credentials =
            Credentials::Basic { client_id, client_secret: Secret::new(client_secret) };
        Self::with_credentials(url.into(), credentials, transport)
    }

    /// The same with form parameters that authenticate the client, made anew for each request, such
    /// as those of a client assertion (RFC 7521 section 4.2). If they cannot be made, nothing is
    /// sent, and the caller gets 503.
    ///
    /// ```
    /// # use password_grant::{assertion::*, error::*, event::*, jose::*, resource::*, state::*, *};
    /// # fn tokens(
    /// #     assertions: ClientAssertion,
    /// #     http: impl IntrospectionTransport,
    /// # ) -> IntrospectedTokens {
    /// let url = "https://id.example.com/oauth/introspect";
    /// IntrospectedTokens::with_parameters(url, move || assertions.parameters(), http)
    /// # }
    /// ```
    #[must_use]
    pub fn with_parameters<P, N, V, E>(
        url: impl Into<String>,
        parameters: impl Fn() -> Result<P, E> + Send + Sync + 'static,
        transport: impl IntrospectionTransport,
    ) -> Self
    where
        P: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<String>,
        E: Into<BoxError>,
    {
        let parameters = move || {
            let parameters = parameters().map_err(Into::into)?;
            Ok(parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
        };
        Self::with_credentials(url.into(), Credentials::Parameters(Box::new(parameters)), transport)
    }

    fn with_credentials(
        url: String,
        credentials: Credentials,
        transport: impl IntrospectionTransport,
    ) -> Self {
        Self {
            url,
            credentials,
            transport: Arc::new(transport),
            timeout: Duration::from_secs(5),
            cached_for: Duration::from_secs(5),
            environment: Environment::new(),
            cache: Mutex::default(),
        }
    }

    /// The timeout of a request to the endpoint. Default: 5 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How long an active token is cached, but never beyond its expiry. A revoked token is accepted
    /// for that much longer. Zero turns the cache off. Maximum: one minute. Default: 5 s.
    #[must_use]
    pub fn cached_for(self, span: Duration) -> Self {
        Self { cached_for: span.min(Duration::from_secs(60)), ..self }
    }

    /// Sets the clock; nothing else of the environment is used. See
    /// [`Environment`](crate::Environment).
    #[must_use]
    pub fn environment(self, environment: &Environment) -> Self {
        Self { environment: environment.clone(), ..self }
    }
}

#[async_trait]
impl TokenLookup for IntrospectedTokens {
    async fn look_up(&self, token: &str) -> Result<Option<TokenDetails>, BoxError> {
        let key = sha256(token.as_bytes());
        if let Some(details) = self.cached(&key) {
            return Ok(Some(details));
        }
        let asked_at = self.environment.clock.now();
        let answer = before(self.ask(token), self.environment.clock.sleep(self.timeout)).await;
        let details =
            read(answer.unwrap_or_else(|| {
                Err("the introspection endpoint did not answer in time".into())
            })?)?;
        if let Some(details) = &details {
            self.keep(key, details, asked_at);
        }
        Ok(details)
    }
}

impl IntrospectedTokens {
    async fn ask(&self, token: &str) -> Result<(u16, Vec<u8>), BoxError> {
        let (authorization, further) = match &self.credentials {
            Credentials::Basic { client_id, client_secret } => {
                (Some(basic(client_id, client_secret.expose())?), Vec::new())
            }
            Credentials::Parameters(parameters) => (None, parameters()?),
        };
        let own = [("token_type_hint", "access_token"), ("token", token)];
        let further = further.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<_> = own.into_iter().chain(further).collect();
        let form = Secret::new(form::encode_pairs(&pairs)?);
        let authorization = authorization.as_ref().map(Secret::expose);
        self.transport.post(&self.url, authorization, form.expose()).await
    }

    fn cached(&self, key: &[u8; 32]) -> Option<TokenDetails> {
        let (cache, now) = (self.cache(), self.environment.clock.now());
        cache
            .get(key)
            .filter(|cached| cached.is_fresh(now, self.cached_for))
            .map(|cached| cached.details.clone())
    }

    /// Keeps an answer, from the moment at which it was asked for: it may be as old as that.
    fn keep(&self, key: [u8; 32], details: &TokenDetails, asked_at: Timestamp) {
        if self.cached_for.is_zero() {
            return;
        }
        let (mut cache, now) = (self.cache(), self.environment.clock.now());
        if cache.len() >= CACHED {
            cache.retain(|_, cached| cached.is_fresh(now, self.cached_for));
        }
        if cache.len() < CACHED {
            cache.insert(key, Cached { details: details.clone(), at: asked_at });
        }
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<[u8; 32], Cached>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value of an `Authorization` header for HTTP Basic. Identifier and secret are form-encoded
/// (RFC 6749 section 2.3.1).
fn basic(client_id: &str, client_secret: &str) -> Result<Secret<'static>, BoxError> {
    let (client_id, client_secret) = (form::encode(client_id)?, form::encode(client_secret)?);
    let pair = Secret::new(format!("{}:{}", &*client_id, &*client_secret));
    Ok(Secret::new(format!("Basic {}", STANDARD.encode(pair.expose()))))
}

/// Reads an introspection response (RFC 7662 section 2.2), strictly typed.
fn read((status, body): (u16, Vec<u8>)) -> Result<Option<TokenDetails>, BoxError> {
    if status != 200 {
        return Err(format!("the introspection endpoint answered {status}").into());
    }
    if body.len() > ANSWER {
        return Err("the introspection endpoint's answer is too long".into());
    }
    let mut members =
        strict_object(&body).ok_or("the introspection endpoint's answer is no JSON object")?;
    match members.remove("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(None),
        _ => {
            return Err(
                "the introspection endpoint does not say whether the token is active".into()
            );
        }
    }
    // Another type of token, such as a refresh token, gives no access.
    let bearer = members
        .remove("token_type")
        .is_none_or(|kind| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("Bearer")));
    if !bearer {
        return Ok(None);
    }
    details(members)
        .map(Some)
        .ok_or_else(|| "the introspection endpoint's answer lacks a claim".into())
}

fn details(mut members: Map<String, Value>) -> Option<TokenDetails> {
    let mut text = |name: &str| match members.remove(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    };
    let (issuer, subject, client_id) = (text("iss")??, text("sub")??, text("client_id")??);
    let (token_id, session_id, scope) =
        (text("jti")?.unwrap_or_default(), text("sid")?, text("scope")?);
    let issued_at = match members.remove("iat") {
        None => None,
        Some(issued_at) => Some(NumericDate::read(&issued_at)?),
    };
    Some(TokenDetails {
        issuer,
        subject: subject.into(),
        client_id: client_id.into(),
        audiences: strings(members.remove("aud")?)?,
        scope: scope.unwrap_or_default().parse().ok()?,
        token_id,
        session_id: session_id.map(Into::into),
        login_epoch: None, // no member of an answer
        issued_at: issued_at.map_or(0, NumericDate::rounded_down),
        valid_from: issued_at.map_or(0, NumericDate::rounded_up),
        expires_at: NumericDate::read(&members.remove("exp")?)?.rounded_down(),
        claims: members,
    })
}

impl fmt::Debug for IntrospectedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectedTokens").field("url", &self.url).finish_non_exhaustive()
    }
}
