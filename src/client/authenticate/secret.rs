//! Client secrets (`client_secret_basic`, `client_secret_post`; RFC 6749 section 2.3.1), compared
//! in constant time.

use async_trait::async_trait;
use subtle::Choice;

use crate::client::authenticate::basic::{Basic, readings};
use crate::client::authenticate::{AuthenticatedClient, Authenticator, ClientIds, Found};
use crate::client::{AuthenticationMethod, Client, ClientSecret};
use crate::error::{ClientFault, Overloaded, ServerFault};
use crate::event::{Event, EventKind};
use crate::refusal::{OrFault, Refusal};
use crate::time::Timestamp;
use crate::types::context::RequestContext;
use crate::types::digest::sha256;
use crate::types::limits::RequestLimits;
use crate::types::secret::Secret;

/// A client identifier and a secret. Raw.
pub(crate) enum SecretCredential<'r> {
    Basic(Basic),
    Post { client_id: &'r str, secret: &'r str },
}

/// The clients whose slow hash the secret may match.
enum SlowCandidate {
    None,
    One(AuthenticatedClient),
    Several,
}

impl SecretCredential<'_> {
    pub(super) fn client_ids(&self) -> ClientIds<'_> {
        match self {
            Self::Basic(basic) => basic.client_ids(),
            Self::Post { client_id, .. } => [Some(*client_id), None, None],
        }
    }

    /// Verifies the secret against the registration of every client that the identifier may mean.
    /// If it is right for two of them, neither is accepted. A secret that is stored as a slow hash
    /// is compared only if no digest matches.
    pub(super) async fn authenticate(
        &self,
        authenticator: &Authenticator<'_>,
    ) -> Result<AuthenticatedClient, Refusal> {
        let mut slow = SlowCandidate::None;
        let found = authenticator.one_of(self.client_ids(), |client| {
            let matches =
                self.matches_any(secrets_to_compare(client.as_ref()), authenticator.now());
            let client = authenticator.admit(client, self.method())?;
            if matches.into() {
                return Ok(client);
            }
            if client.registration().authentication().slow_hash().is_some() {
                slow = match slow {
                    SlowCandidate::None => SlowCandidate::One(client),
                    SlowCandidate::One(_) | SlowCandidate::Several => SlowCandidate::Several,
                };
            }
            Err(ClientFault::Secret)
        });
        let found = found.await?;
        // If two clients have a slow hash, neither hash is compared. Otherwise one request could
        // cost as many hashes as its identifier has readings.
        let (candidate, refusal) = match (found, slow) {
            (Found::One(client), _) => return Ok(client),
            (Found::None { claimed, .. }, SlowCandidate::Several) => {
                (None, (claimed, ClientFault::Ambiguous))
            }
            (Found::None { claimed, fault }, SlowCandidate::One(client)) => {
                (Some(client), (claimed, fault))
            }
            (Found::None { claimed, fault }, SlowCandidate::None) => (None, (claimed, fault)),
            (Found::Several { claimed }, _) => (None, (claimed, ClientFault::Ambiguous)),
        };
        let matches = self.matches_slow_hash(candidate.as_ref(), authenticator).await?;
        match (candidate, refusal) {
            (Some(client), _) if matches => Ok(client),
            (_, (claimed, fault)) => Err(Refusal::new(fault).of_client(&claimed.into())),
        }
    }

    fn method(&self) -> AuthenticationMethod {
        match self {
            Self::Basic(_) => AuthenticationMethod::ClientSecretBasic,
            Self::Post { .. } => AuthenticationMethod::ClientSecretPost,
        }
    }

    /// The secret in each of its readings.
    fn readings(&self) -> [Option<Secret<'_>>; 3] {
        match self {
            Self::Basic(basic) => readings(basic.secret(), RequestLimits::CLIENT_SECRET),
            Self::Post { secret, .. } => [Some(Secret::new(*secret)), None, None],
        }
    }

    /// Whether the secret matches one of these. It compares every reading with every one of them.
    fn matches_any(&self, secrets: &[ClientSecret], now: Timestamp) -> Choice {
        self.readings().iter().flatten().fold(Choice::from(0), |found, reading| {
            #[cfg(all(test, feature = "argon2"))]
            tests::COMPARED.with(|count| count.set(count.get() + secrets.len()));
            let digest = sha256(reading.expose().as_bytes());
            secrets.iter().fold(found, |found, secret| found | secret.matches(&digest, now))
        })
    }

    /// Compares the secret with the slow hash of this client, or with a decoy if there is none.
    async fn matches_slow_hash(
        &self,
        client: Option<&AuthenticatedClient>,
        authenticator: &Authenticator<'_>,
    ) -> Result<bool, Refusal> {
        let phc = client.and_then(|client| client.registration().authentication().slow_hash());
        let comparison = match authenticator.slow {
            Some(slow) => {
                let compared = self.compare_slowly(phc, slow, authenticator.context).await;
                compared.or_fault(ServerFault::Overloaded)?
            }
            None if phc.is_some() => Comparison::Unusable,
            None => Comparison::Different,
        };
        if comparison == Comparison::Unusable {
            // Only the observer learns that the registration is at fault. Otherwise the caller
            // would learn that the client exists.
            let kind = EventKind::ServerFault(ServerFault::ClientRegistration);
            let event = Event::in_context(kind, authenticator.context);
            authenticator
                .observe(&Event { client_id: client.map(AuthenticatedClient::id), ..event });
        }
        Ok(comparison == Comparison::Same)
    }

    /// Compares the readings one after another. It stops at the first one that matches.
    async fn compare_slowly(
        &self,
        phc: Option<&str>,
        slow: &dyn SlowSecrets,
        context: &RequestContext,
    ) -> Result<Comparison, Overloaded> {
        let mut comparison = Comparison::Different;
        for reading in self.readings().iter().flatten() {
            comparison = slow.compare(phc, reading.expose(), context).await?;
            if comparison == Comparison::Same {
                break;
            }
        }
        Ok(comparison)
    }
}

/// The secrets to compare with; at least one. An unknown client, or one without a secret, gets a
/// decoy, so that it costs the same comparison as a known client. Nobody knows a text with the
/// decoy's digest. For slow hashes, [`SlowSecrets::compare`] has its own decoy.
fn secrets_to_compare(client: Option<&Client>) -> &[ClientSecret] {
    static DECOY: [ClientSecret; 1] = [ClientSecret::from_sha256([0; 32])];
    let registered = client.map(|client| client.authentication().secrets());
    registered.filter(|secrets| !secrets.is_empty()).unwrap_or(&DECOY)
}

/// Verifies secrets that are stored as slow hashes, at bounded cost.
#[async_trait]
pub(crate) trait SlowSecrets: Send + Sync {
    /// Compares a secret with a hash in PHC format. If there is no hash, or one that is not
    /// accepted, it hashes a decoy that nothing matches. The comparison waits for the turn of the
    /// address in `context`.
    async fn compare(
        &self,
        phc: Option<&str>,
        secret: &str,
        context: &RequestContext,
    ) -> Result<Comparison, Overloaded>;
}

/// The outcome of a comparison with a slow hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Same,
    Different,
    /// The hash is of a kind or strength that is not accepted.
    Unusable,
}

#[cfg(all(test, feature = "argon2"))]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::client::authenticate::UsedAssertions;
    use crate::client::authenticate::assertion::Expectations;
    use crate::client::replay::UseQuota;
    use crate::client::{ClientAuthentication, InMemoryClients};
    use crate::environment::SystemRandom;
    use crate::state::test_support::TestState;
    use crate::state::transaction::{Backend, State};

    thread_local! {
        /// The comparisons of digests on this thread.
        pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts the comparisons, and matches nothing.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl SlowSecrets for Counting {
        async fn compare(
            &self,
            _: Option<&str>,
            _: &str,
            _: &RequestContext,
        ) -> Result<Comparison, Overloaded> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Comparison::Different)
        }
    }

    /// The cost of a wrong secret must not reveal whether the client exists.
    #[tokio::test]
    async fn a_wrong_secret_costs_the_same_whoever_the_client_is() {
        let secret = ClientSecret::digest_of("right");
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let clients = InMemoryClients::new([
            Client::confidential("known", secret.clone()),
            Client::confidential(
                "expired",
                secret.clone().expires_at(Timestamp::from_unix_seconds(1)),
            ),
            Client::confidential("disabled", secret.clone()).disabled(),
            Client::confidential("post", ClientAuthentication::post(secret)),
            Client::confidential("slow", ClientAuthentication::basic_by_slow_hash("$argon2id$")),
            Client::public("public"),
        ]);
        let TestState { keys, state, clock } = TestState::new();
        let state = State {
            keys,
            backend: Backend::Local(state),
            clock: Arc::new(clock),
            randomness: Arc::new(SystemRandom::new()),
            timeout: Duration::from_secs(1),
            turns: crate::state::turns::Turns::default(),
        };
        let used = UsedAssertions { state: Arc::new(state), quota: UseQuota::new(1) };
        let context = RequestContext::new();
        for id in ["unknown", "known", "expired", "disabled", "post", "slow", "public"] {
            let slow = Counting::default();
            let authenticator = Authenticator {
                clients: &clients,
                methods: &AuthenticationMethod::ALL,
                slow: Some(&slow),
                published: None,
                assertions: Expectations {
                    issuer: "",
                    token_endpoint: "",
                    endpoint: "",
                    algorithms: &[],
                    max_lifetime: Duration::ZERO,
                    now,
                },
                used: &used,
                observer: &(),
                context: &context,
            };
            let header = format!("Basic {}", STANDARD.encode(format!("{id}:wrong")));
            let basic = SecretCredential::Basic(Basic::parse(header.as_bytes()).unwrap());
            let post = SecretCredential::Post { client_id: id, secret: "wrong" };
            for (credential, hashes) in [(basic, 1), (post, 2)] {
                COMPARED.set(0);
                assert!(credential.authenticate(&authenticator).await.is_err(), "{id}");
                assert_eq!(COMPARED.get(), 1, "comparisons of digests for {id}");
                assert_eq!(slow.0.load(Ordering::SeqCst), hashes, "slow hashes for {id}");
            }
        }
    }

    /// A client without a digest is compared with the decoy and may be used, so a text that matches
    /// the decoy would be its secret.
    #[test]
    fn the_decoy_is_a_digest_of_no_known_text() {
        let now = Timestamp::from_unix_seconds(0);
        let of_zeros = |secrets: &[ClientSecret]| -> Vec<bool> {
            secrets.iter().map(|secret| secret.matches(&[0; 32], now).into()).collect()
        };
        assert_eq!(of_zeros(secrets_to_compare(None)), [true]);
        let public: Client = Client::public("public").into();
        assert_eq!(of_zeros(secrets_to_compare(Some(&public))), [true]);
        let two = ClientAuthentication::basic(ClientSecret::digest_of("first"))
            .or_secret(ClientSecret::digest_of("second"));
        let two: Client = Client::confidential("two", two).into();
        assert_eq!(of_zeros(secrets_to_compare(Some(&two))), [false, false]);
    }
}
