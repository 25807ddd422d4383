//! The key sets that clients publish at a URI (`jwks_uri`, RFC 7591 section 2). The host fetches
//! them; this module parses them and shares each fetch among all requests that need it. [`cache`]
//! decides when a set is fetched.

mod cache;

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::Shared;

pub(crate) use crate::client::jwks::cache::Freshness;
use crate::client::jwks::cache::{Cache, Step, TIMEOUT};
use crate::error::BoxError;
use crate::future::{before, catch_panic};
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
    /// fetched in the last day. If there are none, the caller gets 503, and the observer is told
    /// the text of the error. A panic counts as a failure, and so does a fetch that takes longer
    /// than 30 seconds. Set a shorter limit of your own, because the client waits for the answer.
    ///
    /// No two fetches of one set begin within a minute, and after several failures none within up
    /// to 15 minutes.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await. All requests that need the set wait for the same
    /// future: each poll may come from another task or thread than the one before, so it must not
    /// depend on the task that polled it first.
    ///
    /// If all of those requests are dropped, nobody polls the future until another one needs the
    /// set, which may be never. After 30 seconds it is dropped and begun anew, within the pauses
    /// above. Your own time limit may pass meanwhile; a failure after such a gap is not taken for a
    /// failure of the source. To make a fetch independent of callers who disconnect, run it in a
    /// task of your runtime and wait for that task here.
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

/// The key sets that clients publish, fetched by the host and cached.
pub(crate) struct PublishedKeys {
    source: Arc<dyn JwksSource>,
    clock: Arc<dyn Clock>,
    cache: Mutex<Cache<SharedFetch>>,
}

/// A fetch that any number of callers wait for. Each of them drives it.
type SharedFetch = Shared<BoxFuture<'static, Outcome>>;

type Outcome = Result<Arc<VerificationKeys>, FetchError>;

/// The keys at a URI.
pub(crate) struct FetchedKeys {
    pub(crate) keys: Arc<VerificationKeys>,
    /// Whether they come from a fetch that this request waited for.
    pub(crate) just_fetched: bool,
    /// Whether this request is the first that gets the keys of this fetch.
    pub(crate) is_first: bool,
}

impl FetchedKeys {
    fn cached(keys: Arc<VerificationKeys>) -> Self {
        Self { keys, just_fetched: false, is_first: false }
    }
}

impl PublishedKeys {
    pub(crate) fn new(source: Arc<dyn JwksSource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, cache: Mutex::default() }
    }

    /// The keys at this URI, from the cache if they suffice, otherwise fetched.
    ///
    /// All callers that need the set fetched at the same time wait for one fetch. If the callers of
    /// the last fetch have all disconnected and it has come to nothing, this waits up to
    /// [`TIMEOUT`] until another one may begin.
    ///
    /// # Errors
    ///
    /// Fails if the keys cannot be fetched, if the document is not a key set, or if it is too soon
    /// after the last fetch to begin another one.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await. A fetch that was begun is continued by the other
    /// callers that wait for it, or by the next one.
    pub(crate) async fn at(
        &self,
        uri: &Arc<str>,
        freshness: Freshness,
    ) -> Result<FetchedKeys, BoxError> {
        let latest = self.clock.now().plus(TIMEOUT);
        loop {
            let now = self.clock.now();
            let at_hand = match self.next(uri, freshness, now) {
                Next::Wait(waiter) => return waiter.answer().await,
                Next::Pause { pause, .. } if now.plus(pause) <= latest => {
                    self.clock.sleep(pause).await;
                    continue;
                }
                Next::Use(keys) => Some(keys),
                Next::Pause { at_hand, .. } => at_hand,
                Next::Refuse => None,
            };
            return at_hand
                .map(FetchedKeys::cached)
                .ok_or_else(|| "the key set could not be fetched just now".into());
        }
    }

    fn next<'a>(&'a self, uri: &'a Arc<str>, freshness: Freshness, now: Timestamp) -> Next<'a> {
        self.with_cache(|cache| match cache.next(uri, freshness, now, || self.begin(uri)) {
            Step::Use(keys) => Next::Use(keys),
            Step::Join { id, handle } => Next::Wait(Waiter { keys: self, uri, id, fetch: handle }),
            Step::Pause { pause, at_hand } => Next::Pause { pause, at_hand },
            Step::Refuse => Next::Refuse,
        })
    }

    /// Makes a fetch. It calls the host only when it is polled. It never panics, because a `Shared`
    /// future that has panicked makes everybody who polls it panic too.
    fn begin(&self, uri: &Arc<str>) -> SharedFetch {
        let (source, clock, uri) = (self.source.clone(), self.clock.clone(), uri.clone());
        let fetch: BoxFuture<'static, Outcome> = Box::pin(async move {
            let fetch = async {
                let document = before(source.fetch(&uri), clock.sleep(TIMEOUT)).await;
                let set = JwkSet::from_json(&document.ok_or("the JwksSource took too long")??)?;
                Ok(Arc::new(VerificationKeys::from_jwks(&set)?))
            };
            let fetched = catch_panic(pin!(fetch)).await;
            fetched
                .unwrap_or_else(|| Err("the JwksSource panicked".into()))
                .map_err(|cause: BoxError| FetchError(cause.into()))
        });
        fetch.shared()
    }

    /// Locks the cache. Fetches that it gives up are dropped after it is unlocked.
    fn with_cache<T>(&self, change: impl FnOnce(&mut Cache<SharedFetch>) -> T) -> T {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut cache);
        let discarded = cache.take_discarded();
        drop(cache);
        drop(discarded);
        changed
    }
}

/// What a caller does next; see [`Step`].
enum Next<'a> {
    Use(Arc<VerificationKeys>),
    Wait(Waiter<'a>),
    Pause { pause: Duration, at_hand: Option<Arc<VerificationKeys>> },
    Refuse,
}

/// A caller that waits for a fetch. While there is one, the fetch is not given up.
struct Waiter<'a> {
    keys: &'a PublishedKeys,
    uri: &'a Arc<str>,
    id: u64,
    fetch: SharedFetch,
}

impl Waiter<'_> {
    /// What came of the fetch.
    ///
    /// The first waiter that is polled after the end of the fetch writes the outcome into the
    /// cache. It is not dropped between the two, because there is no await.
    async fn answer(mut self) -> Result<FetchedKeys, BoxError> {
        let outcome = (&mut self.fetch).await;
        let now = self.keys.clock.now();
        let fetched = outcome.as_ref().ok();
        let settled = self.keys.with_cache(|cache| cache.settle(self.uri, self.id, fetched, now));
        match (outcome, settled.at_hand) {
            (Ok(keys), _) => {
                Ok(FetchedKeys { keys, just_fetched: true, is_first: settled.is_first })
            }
            (Err(_), Some(keys)) => Ok(FetchedKeys::cached(keys)),
            (Err(cause), None) => Err(cause.into()),
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.keys.with_cache(|cache| cache.leave(self.uri, self.id));
    }
}

/// The error of a fetch, for each of its callers. It prints as the host's own error does.
#[derive(Debug, Clone)]
struct FetchError(Arc<dyn Error + Send + Sync>);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl fmt::Debug for PublishedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublishedKeys")
    }
}
