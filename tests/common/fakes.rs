//! Fakes of what a host brings: sources of randomness, client stores, published key sets, and a
//! state store whose calls fail as a test scripts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::assertion::JwksSource;
use password_grant::environment::{RandomnessError, SecureRandom};
use password_grant::state::{
    Change, Commit, Expected, InMemoryState, Loaded, Row, StateKey, StateStore, Version,
};
use password_grant::testing::ManualClock;
use password_grant::{
    BoxError, Client, ClientStore, Clock, Environment, RequestContext, async_trait,
};
use tokio::sync::watch;

use super::noon;

/// A source of randomness that always fails.
pub struct NoRandomness;

impl SecureRandom for NoRandomness {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomnessError> {
        Err(RandomnessError::new())
    }
}

/// A source of randomness of which every byte is the same.
pub struct ConstantRandomness(pub u8);

impl SecureRandom for ConstantRandomness {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        bytes.fill(self.0);
        Ok(())
    }
}

type FoundClient = Result<Option<Client>, BoxError>;
type FindClient = dyn Fn(&str, &RequestContext) -> FoundClient + Send + Sync;

/// A client store whose answers a test scripts, and which remembers the identifiers it was asked
/// for.
#[derive(Clone)]
pub struct ScriptedClients {
    find: Arc<FindClient>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ScriptedClients {
    pub fn new(
        find: impl Fn(&str, &RequestContext) -> FoundClient + Send + Sync + 'static,
    ) -> Self {
        Self { find: Arc::new(find), asked: Arc::default() }
    }

    /// The identifiers that were looked up since the last call of this.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[async_trait]
impl ClientStore for ScriptedClients {
    async fn find(
        &self,
        client_id: &str,
        context: &RequestContext,
    ) -> Result<Option<Client>, BoxError> {
        self.asked.lock().unwrap().push(client_id.to_owned());
        (self.find)(client_id, context)
    }
}

/// A key set that clients publish. It can be replaced, or be out of reach while there is none, and
/// counts how often it is fetched.
#[derive(Clone, Default)]
pub struct PublishedKeys {
    address: Option<&'static str>,
    document: Arc<Mutex<Option<String>>>,
    fetched: Arc<AtomicUsize>,
}

impl PublishedKeys {
    /// To be fetched at this address and no other.
    pub fn at(address: &'static str) -> Self {
        Self { address: Some(address), ..Self::default() }
    }

    pub fn publish(&self, document: impl Into<String>) {
        *self.document.lock().unwrap() = Some(document.into());
    }

    pub fn is_out_of_reach(&self) {
        *self.document.lock().unwrap() = None;
    }

    /// How often the document was fetched since the last call of this.
    pub fn take_fetched(&self) -> usize {
        self.fetched.swap(0, Ordering::SeqCst)
    }
}

#[async_trait]
impl JwksSource for PublishedKeys {
    async fn fetch(&self, jwks_uri: &str) -> Result<Vec<u8>, BoxError> {
        assert!(self.address.is_none_or(|address| address == jwks_uri), "{jwks_uri}");
        self.fetched.fetch_add(1, Ordering::SeqCst);
        Ok(self.document.lock().unwrap().clone().ok_or("no connection")?.into_bytes())
    }
}

/// A key set that is fetched over a slow network: a fetch ends when the test says so, or with an
/// error ten seconds after it began. Like many HTTP clients it looks at its time limit first, so a
/// fetch that nobody polled for so long fails even if the document has arrived.
#[derive(Clone)]
pub struct SlowKeys {
    clock: ManualClock,
    document: watch::Sender<Option<Result<String, String>>>,
    begun: Arc<AtomicUsize>,
}

impl SlowKeys {
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    pub fn new(clock: &ManualClock) -> Self {
        Self { clock: clock.clone(), document: watch::Sender::new(None), begun: Arc::default() }
    }

    /// Ends the fetches that are under way and later ones with this document.
    pub fn publish(&self, document: impl Into<String>) {
        self.document.send_replace(Some(Ok(document.into())));
    }

    /// Ends the fetches that are under way and later ones with an error.
    pub fn fail(&self) {
        self.document.send_replace(Some(Err("no connection".into())));
    }

    /// Lets fetches wait from now on.
    pub fn hang(&self) {
        self.document.send_replace(None);
    }

    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many fetches have begun since the last call of this.
    pub fn take_begun(&self) -> usize {
        self.begun.swap(0, Ordering::SeqCst)
    }
}

#[async_trait]
impl JwksSource for SlowKeys {
    async fn fetch(&self, _: &str) -> Result<Vec<u8>, BoxError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut document = self.document.subscribe();
        tokio::select! {
            biased;
            () = self.clock.sleep(Self::TIMEOUT) => Err("timed out".into()),
            document = document.wait_for(Option::is_some) => {
                Ok(document?.clone().ok_or("never None")??.into_bytes())
            }
        }
    }
}

/// What becomes of one call of a [`FaultyStore`].
pub enum StoreFault {
    None,
    /// The call fails, and has changed nothing.
    Fails,
    /// A commit is made, and then its answer is lost.
    FailsAfterwards,
    Hangs,
    /// A conflict without the rows that are there.
    Conflict,
    /// A conflict that returns the rows as they are.
    FreshConflict,
    /// A conflict that returns too few rows.
    MuteConflict,
    /// Every row that is loaded has this value.
    Garbage(&'static [u8]),
    /// A load returns no rows at all.
    NoRows,
}

type Script = dyn Fn(usize) -> StoreFault + Send + Sync;

/// A store whose calls fail as a test scripts, by their number.
pub struct FaultyStore {
    store: InMemoryState,
    script: Box<Script>,
    calls: AtomicUsize,
    loads: AtomicUsize,
}

impl FaultyStore {
    /// An empty store, in which it is always noon.
    pub fn new(script: impl Fn(usize) -> StoreFault + Send + Sync + 'static) -> Arc<Self> {
        let clock = ManualClock::at(noon());
        Self::over(InMemoryState::new().environment(&Environment::new().clock(clock)), script)
    }

    pub fn over(
        store: InMemoryState,
        script: impl Fn(usize) -> StoreFault + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            script: Box::new(script),
            calls: AtomicUsize::new(0),
            loads: AtomicUsize::new(0),
        })
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many loads there were.
    pub fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    fn next(&self) -> StoreFault {
        (self.script)(self.calls.fetch_add(1, Ordering::SeqCst))
    }
}

#[async_trait]
impl StateStore for FaultyStore {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        assert!(keys.is_sorted_by(|one, next| one < next));
        self.loads.fetch_add(1, Ordering::SeqCst);
        let fault = self.next();
        let mut loaded = self.store.load(keys).await?;
        match fault {
            StoreFault::Fails | StoreFault::FailsAfterwards => return Err("no connection".into()),
            StoreFault::Hangs => std::future::pending().await,
            StoreFault::NoRows => loaded.rows.clear(),
            StoreFault::Garbage(bytes) => loaded.rows.iter_mut().for_each(|row| {
                *row = Some(Row { version: Version::new(1), value: bytes.to_vec() });
            }),
            StoreFault::None
            | StoreFault::Conflict
            | StoreFault::FreshConflict
            | StoreFault::MuteConflict => {}
        }
        Ok(loaded)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        assert!(changes.is_sorted_by(|one, next| one.key < next.key));
        match self.next() {
            StoreFault::Fails => Err("no connection".into()),
            StoreFault::FailsAfterwards => {
                let _ = self.store.commit(changes).await?;
                Err("the connection was lost".into())
            }
            StoreFault::Conflict => Ok(Commit::Conflict { fresh: None }),
            StoreFault::FreshConflict => {
                let mut changes = changes.to_vec();
                changes[0].expected = Expected::Version(Version::new(u64::MAX));
                let conflict = self.store.commit(&changes).await?;
                assert!(matches!(conflict, Commit::Conflict { fresh: Some(_) }));
                Ok(conflict)
            }
            StoreFault::MuteConflict => {
                Ok(Commit::Conflict { fresh: Some(Loaded { now: noon(), rows: Vec::new() }) })
            }
            StoreFault::Hangs => std::future::pending().await,
            StoreFault::None | StoreFault::Garbage(_) | StoreFault::NoRows => {
                self.store.commit(changes).await
            }
        }
    }
}
