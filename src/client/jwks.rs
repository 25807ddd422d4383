//! The key sets that clients publish at a URI (`jwks_uri`): fetched by the host, read and kept here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::BoxError;
use crate::jose::{JwkSet, VerificationKeys};
use crate::time::{BoxFuture, Clock, Timestamp};

/// Fetches the key sets that clients publish ([RFC 7591 section 2], `jwks_uri`), with the host's own HTTP client: the
/// library does no network I/O.
///
/// The URI is the one that the client is registered with. Whoever may register clients chooses where this connects to, so
/// an implementation allows `https` only, refuses addresses of its own network after resolving the name, follows no
/// redirects, and bounds time and size (some 64 KiB).
///
/// ```
/// use password_grant::assertion::JwksSource;
/// use password_grant::{BoxError, async_trait};
/// # struct Http;
/// # impl Http { async fn get(&self, _: &str) -> Result<Vec<u8>, BoxError> { Ok(Vec::new()) } }
///
/// #[async_trait]
/// impl JwksSource for Http {
///     async fn fetch(&self, jwks_uri: &str) -> Result<Vec<u8>, BoxError> {
///         self.get(jwks_uri).await
///     }
/// }
/// ```
///
/// [RFC 7591 section 2]: https://www.rfc-editor.org/rfc/rfc7591#section-2
#[async_trait]
pub trait JwksSource: Send + Sync + 'static {
    /// The body of the document at this URI. It is read strictly; see [`JwkSet::from_json`].
    ///
    /// # Errors
    ///
    /// When it cannot be had; keys that were fetched before are then used on, and without any the caller gets 503. Bound its
    /// time: the engine waits for it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any await.
    async fn fetch(&self, jwks_uri: &str) -> Result<Vec<u8>, BoxError>;
}

impl<T: JwksSource + ?Sized> JwksSource for Arc<T> {
    fn fetch<'a, 'b, 'c>(&'a self, jwks_uri: &'b str) -> BoxFuture<'c, Result<Vec<u8>, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        (**self).fetch(jwks_uri)
    }
}

/// The key sets that were fetched, and when.
pub(crate) struct PublishedKeys {
    source: Arc<dyn JwksSource>,
    clock: Arc<dyn Clock>,
    sets: Mutex<HashMap<String, Fetched>>,
}

struct Fetched {
    keys: Option<Arc<VerificationKeys>>,
    /// When the last fetch began; none begins sooner than [`MIN_INTERVAL`] after it.
    began: Timestamp,
    /// When the keys were had.
    at: Timestamp,
}

/// The keys of a set.
pub(crate) struct Had {
    pub(crate) keys: Arc<VerificationKeys>,
    /// They were fetched for this request.
    pub(crate) just_fetched: bool,
}

/// Whether keys may have changed since they were fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those that were fetched not long ago will do.
    Recent,
    /// A signature names a key that is not among them.
    Newer,
}

/// How long keys are used without asking anew.
const FRESH: Duration = Duration::from_secs(600);
/// How long a fetch must lie back before another one.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// How long keys are used while they cannot be fetched anew.
const STALE: Duration = Duration::from_secs(86_400);
/// How many sets are kept.
const SETS: usize = 1_000;

impl PublishedKeys {
    pub(crate) fn new(source: Arc<dyn JwksSource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, sets: Mutex::default() }
    }

    /// The keys at this URI: those at hand where that will do, or else fetched.
    ///
    /// Of several callers at once, one fetches; the others take what is at hand, or fetch too if nothing is.
    ///
    /// # Errors
    ///
    /// When they cannot be fetched, are no key set, or were fetched in vain just now.
    pub(crate) async fn at(&self, uri: &str, wanted: Wanted) -> Result<Had, BoxError> {
        let now = self.clock.now();
        if let Some(keys) = self.known(uri, wanted, now)? {
            return Ok(Had { keys, just_fetched: false });
        }
        let fetched = self.source.fetch(uri).await.and_then(|document| {
            let set = JwkSet::from_json(&document)?;
            Ok(Arc::new(VerificationKeys::from_jwks(&set)?))
        });
        let now = self.clock.now();
        let mut sets = self.sets();
        match fetched {
            Ok(keys) => {
                sets.insert(
                    uri.to_owned(),
                    Fetched { keys: Some(keys.clone()), began: now, at: now },
                );
                Ok(Had { keys, just_fetched: true })
            }
            Err(cause) => {
                sets.entry(uri.to_owned()).or_insert(Fetched { keys: None, began: now, at: now });
                let at_hand = sets
                    .get(uri)
                    .filter(|set| now.since(set.at) < STALE)
                    .and_then(|set| set.keys.clone());
                at_hand.map(|keys| Had { keys, just_fetched: false }).ok_or(cause)
            }
        }
    }

    /// What will do of what is at hand; `None` if it is for this caller to fetch.
    fn known(
        &self,
        uri: &str,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<Option<Arc<VerificationKeys>>, BoxError> {
        let mut sets = self.sets();
        if let Some(set) = sets.get_mut(uri) {
            set.began = set.began.min(now);
            set.at = set.at.min(now);
            let recent = wanted == Wanted::Recent && now.since(set.at) < FRESH;
            let too_soon = now.since(set.began) < MIN_INTERVAL;
            match set.keys.as_ref().filter(|_| now.since(set.at) < STALE) {
                Some(keys) if recent || too_soon => return Ok(Some(keys.clone())),
                None if too_soon => return Err("the key set could not be fetched just now".into()),
                _ => set.began = now,
            }
            return Ok(None);
        }
        if sets.len() >= SETS {
            // Whatever was not asked for in a day makes room; then anything does, since all of it can be fetched again.
            sets.retain(|_, set| now.since(set.at) < STALE);
            if sets.len() >= SETS {
                sets.clear();
            }
        }
        Ok(None)
    }

    fn sets(&self) -> MutexGuard<'_, HashMap<String, Fetched>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PublishedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublishedKeys")
    }
}
