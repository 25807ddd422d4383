//! The key sets that clients publish at a URI (`jwks_uri`, RFC 7591 section 2). The host fetches
//! them; this module parses and caches them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::BoxError;
use crate::jose::{JwkSet, VerificationKeys};
use crate::time::{BoxFuture, Clock, Timestamp};

/// Fetches the key sets that clients publish ([RFC 7591 section 2], `jwks_uri`) with the host's own
/// HTTP client, because this library does no network I/O.
///
/// The URI is the one that the client is registered with. Anybody who may register clients chooses
/// where this connects to. An implementation must therefore allow only `https`, refuse addresses of
/// its own network after resolving the name, follow no redirects, and limit time and size (about 64
/// KiB).
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
    /// Fetches the body of the document at this URI. The engine parses it strictly; see
    /// [`JwkSet::from_json`].
    ///
    /// # Errors
    ///
    /// Fails if the document cannot be fetched. The engine then continues to use keys that were
    /// fetched earlier; if there are none, the caller gets 503. Limit the time, because the engine
    /// waits for it.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await.
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

/// The cache of the key sets that were fetched.
pub(crate) struct PublishedKeys {
    source: Arc<dyn JwksSource>,
    clock: Arc<dyn Clock>,
    sets: Mutex<HashMap<String, Fetched>>,
}

struct Fetched {
    keys: Option<Arc<VerificationKeys>>,
    /// The time of the last fetch. The next one starts no sooner than [`MIN_INTERVAL`] after it.
    began: Timestamp,
    /// When the keys were fetched; if there are none, when fetching them failed.
    at: Timestamp,
}

/// The keys at a URI.
pub(crate) struct FetchedKeys {
    pub(crate) keys: Arc<VerificationKeys>,
    /// Whether they were fetched for this request.
    pub(crate) just_fetched: bool,
}

/// How recent the keys must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Cached keys suffice while they are fresh.
    Recent,
    /// The cached keys do not suffice, because a signature names a key that is not among them.
    Newer,
}

/// For how long cached keys are used without fetching them again.
const FRESH: Duration = Duration::from_secs(600);
/// The shortest time between two fetches of one set.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// For how long cached keys are used while they cannot be fetched again.
const STALE: Duration = Duration::from_secs(86_400);
/// The most key sets in the cache.
const SETS: usize = 1_000;

impl PublishedKeys {
    pub(crate) fn new(source: Arc<dyn JwksSource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, sets: Mutex::default() }
    }

    /// The keys at this URI, from the cache if they suffice, otherwise fetched.
    ///
    /// If several callers need a cached set again at once, one of them fetches it and the others
    /// use the cached keys. If nothing is cached, all of them fetch it.
    ///
    /// # Errors
    ///
    /// Fails if the keys cannot be fetched, if the document is not a key set, or if the last fetch
    /// failed less than a minute ago.
    pub(crate) async fn at(
        &self,
        uri: &str,
        freshness: Freshness,
    ) -> Result<FetchedKeys, BoxError> {
        let now = self.clock.now();
        if let Some(keys) = self.known(uri, freshness, now)? {
            return Ok(FetchedKeys { keys, just_fetched: false });
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
                Ok(FetchedKeys { keys, just_fetched: true })
            }
            Err(cause) => {
                sets.entry(uri.to_owned()).or_insert(Fetched { keys: None, began: now, at: now });
                let at_hand = sets
                    .get(uri)
                    .filter(|set| now.since(set.at) < STALE)
                    .and_then(|set| set.keys.clone());
                at_hand.map(|keys| FetchedKeys { keys, just_fetched: false }).ok_or(cause)
            }
        }
    }

    /// The cached keys, if they suffice; `None` if this caller must fetch them.
    fn known(
        &self,
        uri: &str,
        freshness: Freshness,
        now: Timestamp,
    ) -> Result<Option<Arc<VerificationKeys>>, BoxError> {
        let mut sets = self.sets();
        if let Some(set) = sets.get_mut(uri) {
            set.began = set.began.min(now);
            set.at = set.at.min(now);
            let recent = freshness == Freshness::Recent && now.since(set.at) < FRESH;
            let too_soon = now.since(set.began) < MIN_INTERVAL;
            match set.keys.as_ref().filter(|_| now.since(set.at) < STALE) {
                Some(keys) if recent || too_soon => return Ok(Some(keys.clone())),
                None if too_soon => return Err("the key set could not be fetched just now".into()),
                _ => set.began = now,
            }
            return Ok(None);
        }
        if sets.len() >= SETS {
            // Removes the sets that were fetched more than a day ago. If that is not enough, it
            // removes all, because every set can be fetched again.
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
