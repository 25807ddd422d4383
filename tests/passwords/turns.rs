//! Who gets a place in the queue of the hashing threads: web backends and all others take turns, on
//! each side its groups, in each group its parties, and nobody can keep the others out.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use password_grant::limiter::{AttemptCount, LimitKey};
use password_grant::testing::InMemoryClients;
use password_grant::{
    Client, ClientAuthentication, ClientSecret, Environment, Grant, HashedPasswords, HttpRequest,
    JwtIssuer, PasswordGrant, RequestContext, SigningKeys, User,
};

use crate::common::{AUDIENCE, Answer, FORM, ISSUER};
use crate::support::{Gate, Table, cheap, hash, until};

/// The number of places in the queue.
const PLACES: usize = 4;

/// A login: the address that it comes from, the client, and the user name. The password is right
/// for `alice`.
type From = (&'static str, &'static str, &'static str);

/// In the place of an address: the host gives none.
const NO_ADDRESS: &str = "";

const ALICE: From = ("192.0.2.1", "web", "alice");

/// An engine whose only hashing thread is busy.
struct Busy {
    grant: PasswordGrant,
    passwords: HashedPasswords,
}

impl Busy {
    /// The thread stays busy until the sender is dropped.
    async fn new() -> (Self, mpsc::Sender<()>) {
        let (gate, open) = Gate::new();
        let table = Table::of([("alice", User::new("user-1", Some(hash(cheap(), "wonderland"))))]);
        let passwords =
            HashedPasswords::builder(table).parameters(cheap()).threads(1).queue(PLACES);
        let environment = Environment::new().observer(());
        let passwords =
            passwords.environment(&environment.clone().randomness(gate.clone())).build().unwrap();

        let digest = || ClientAuthentication::post(ClientSecret::digest_of("secret"));
        let window = Duration::from_secs(600);
        let clients = [
            Client::confidential("web", digest()),
            Client::confidential("shop", digest()).web_backend(1_000, window),
            Client::confidential("till", digest()).web_backend(1_000, window),
            Client::public("app").web_backend(1_000, window),
        ];
        let clients = clients
            .map(|client| client.grants([Grant::Password]).scope("profile".parse().unwrap()));
        let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
        let clients = InMemoryClients::new(clients);
        let grant = PasswordGrant::builder(ISSUER, clients, passwords.clone(), tokens);
        let grant =
            grant.environment(&environment).slow_client_secrets(&passwords).build().unwrap();

        let mut busy = Box::pin(passwords.hash("new password"));
        assert!(futures_util::poll!(&mut busy).is_pending());
        until(|| gate.entered.load(Ordering::SeqCst) == 1).await;
        drop(busy);
        (Self { grant, passwords }, open)
    }

    fn login(&self, (peer, client, username): From) -> Login<'_> {
        self.send(peer, client, username, "secret")
    }

    /// An attempt with a client secret that costs a hash.
    fn guess_at_secret(&self, peer: &'static str) -> Login<'_> {
        self.send(peer, "web", "alice", "a guess")
    }

    fn send<'a>(
        &'a self,
        peer: &'static str,
        client: &'static str,
        username: &'static str,
        secret: &'static str,
    ) -> Login<'a> {
        Box::pin(async move {
            let secret =
                if client == "app" { String::new() } else { format!("&client_secret={secret}") };
            let form = format!(
                "grant_type=password&scope=profile&client_id={client}{secret}&username={username}\
                 &password=wonderland"
            );
            let headers = [("content-type", FORM.as_bytes())];
            let request = HttpRequest::new("POST", None, headers, form.as_bytes());
            let request = match peer {
                NO_ADDRESS => request,
                peer => request.peer(peer.parse::<IpAddr>().unwrap()),
            };
            Answer::from(self.grant.token(request).await)
        })
    }
}

type Login<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

/// Whether a request waits for its hash. If it does not, it has been refused.
async fn waits(login: &mut Login<'_>) -> bool {
    match futures_util::poll!(login) {
        std::task::Poll::Pending => true,
        std::task::Poll::Ready(answer) => {
            answer.is(503, "temporarily_unavailable");
            assert_eq!(answer.header("retry-after"), Some("1"));
            false
        }
    }
}

/// Fills the queue, and returns who waits in it, oldest first.
async fn fill<'a>(logins: impl IntoIterator<Item = Login<'a>>) -> Vec<Login<'a>> {
    let mut waiting = Vec::new();
    for mut login in logins {
        assert!(waits(&mut login).await);
        waiting.push(login);
    }
    assert_eq!(waiting.len(), PLACES);
    waiting
}

/// An impatient client that hangs up while its password waits does not drive its user into waiting:
/// nobody has looked at the password, so the attempt is taken back.
#[tokio::test]
async fn a_login_that_is_hung_up_on_before_its_hash_begins_does_not_count() {
    let (busy, open) = Busy::new().await;
    let alice = LimitKey::Account { username: "alice" };
    let context = RequestContext::new().with_peer("192.0.2.1".parse().unwrap());
    let counted = async || busy.grant.attempts(alice, &context).await.unwrap().unwrap();
    for _ in 0..8 {
        let mut impatient = busy.login(ALICE);
        assert!(waits(&mut impatient).await);
        assert_eq!(counted().await.failures, 1, "counted while it waits");
        drop(impatient);
        assert_eq!(counted().await, AttemptCount::default());
    }
    drop(open);
    busy.login(ALICE).await.is_granted();
    assert_eq!(counted().await, AttemptCount::default());
}

/// Requirement S37.
#[tokio::test]
async fn whoever_fills_the_queue_keeps_nobody_else_out() {
    let elsewhere = |peer| [0; PLACES].map(|_| (peer, "web", "mallory"));
    let parties = [
        ("from another address", elsewhere("192.0.2.9"), ALICE),
        (
            "from an IPv6 network of many addresses",
            ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::ffff"]
                .map(|peer| (peer, "web", "mallory")),
            ("2001:db8:0:1::1", "web", "alice"),
        ),
        (
            "from an IPv4 address in both its forms",
            ["192.0.2.9", "::ffff:192.0.2.9", "192.0.2.9", "::ffff:192.0.2.9"]
                .map(|peer| (peer, "web", "mallory")),
            ALICE,
        ),
        ("from an address, where others have none", elsewhere(NO_ADDRESS), ALICE),
        (
            "with another user name at a web backend",
            [0; PLACES].map(|_| ("192.0.2.1", "shop", "mallory")),
            ("192.0.2.1", "shop", "alice"),
        ),
        (
            "with the same user name at another web backend",
            [0; PLACES].map(|_| ("192.0.2.1", "shop", "alice")),
            ("192.0.2.1", "till", "alice"),
        ),
        (
            "from everywhere with one user name at a web backend",
            ["192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"]
                .map(|peer| (peer, "shop", "mallory")),
            ("192.0.2.5", "shop", "alice"),
        ),
    ];
    for (case, crowd, owner) in parties {
        the_newest_gives_way(case, crowd, owner).await;
    }
}

/// A crowd takes all places. Of the crowd nobody else gets one, but the owner does and is served.
async fn the_newest_gives_way(case: &str, crowd: [From; PLACES], owner: From) {
    let (engine, open) = Busy::new().await;
    let mut crowd_waits = fill(crowd.map(|from| engine.login(from))).await;
    assert!(!waits(&mut engine.login(crowd[0])).await, "{case}: one more of the crowd");
    let mut login = engine.login(owner);
    assert!(waits(&mut login).await, "{case}");
    assert!(!waits(&mut crowd_waits.pop().unwrap()).await, "{case}: the newest gives way");
    for earlier in &mut crowd_waits {
        assert!(waits(earlier).await, "{case}: only the newest gives way");
    }
    drop(open);
    login.await.is_granted();
}

/// One login from each of four /64s of one /48.
const NETWORK: [From; PLACES] = [
    ("2001:db8::1", "web", "mallory"),
    ("2001:db8:0:1::1", "web", "mallory"),
    ("2001:db8:0:2::1", "web", "mallory"),
    ("2001:db8:0:ffff::1", "web", "mallory"),
];

/// One login through a web backend for each of four names.
const INVENTED: [From; PLACES] = [
    ("192.0.2.5", "shop", "mallory"),
    ("192.0.2.5", "shop", "mallet"),
    ("192.0.2.5", "shop", "malice"),
    ("192.0.2.5", "shop", "trudy"),
];

/// One login from each of four addresses.
const ADDRESSES: [From; PLACES] = [
    ("192.0.2.5", "web", "mallory"),
    ("192.0.2.6", "web", "mallory"),
    ("192.0.2.7", "web", "mallory"),
    ("2001:db8::1", "web", "mallory"),
];

const THROUGH_SHOP: From = ("192.0.2.5", "shop", "alice");
const THROUGH_TILL: From = ("192.0.2.5", "till", "alice");

#[tokio::test]
async fn the_64s_of_one_ipv6_network_do_not_keep_an_address_elsewhere_out() {
    the_newest_gives_way("IPv4", NETWORK, ALICE).await;
    the_newest_gives_way("no address", NETWORK, (NO_ADDRESS, "web", "alice")).await;
    the_newest_gives_way("next network", NETWORK, ("2001:db8:1::1", "web", "alice")).await;
}

#[tokio::test]
async fn invented_names_at_a_web_backend_do_not_keep_an_address_out() {
    the_newest_gives_way("elsewhere", INVENTED, ALICE).await;
    the_newest_gives_way("the backend's own", INVENTED, ("192.0.2.5", "web", "alice")).await;
}

#[tokio::test]
async fn invented_names_at_a_web_backend_do_not_keep_users_of_another_out() {
    the_newest_gives_way("at one address", INVENTED, THROUGH_TILL).await;
}

#[tokio::test]
async fn the_64s_of_one_ipv6_network_do_not_keep_users_of_a_web_backend_out() {
    the_newest_gives_way("at an address elsewhere", NETWORK, THROUGH_SHOP).await;
    the_newest_gives_way("in that network", NETWORK, ("2001:db8::1", "shop", "alice")).await;
}

/// However many they are: the web backends together have half of the queue, and all others too.
#[tokio::test]
async fn many_addresses_do_not_keep_users_of_a_web_backend_out_nor_many_backends_an_address() {
    the_newest_gives_way("addresses", ADDRESSES, THROUGH_SHOP).await;
    let [first, second, ..] = INVENTED;
    let third = ("192.0.2.6", "till", "mallory");
    the_newest_gives_way("backends", [first, second, third, THROUGH_TILL], ALICE).await;
}

/// Neighbours in one network cost only each other their places.
#[tokio::test]
async fn a_64_that_fills_the_share_of_its_network_gives_way_to_another_of_that_network() {
    let (engine, open) = Busy::new().await;
    let [flood, neighbour, ..] = NETWORK;
    let mut waiting = fill([flood, flood, ALICE, ALICE].map(|from| engine.login(from))).await;
    let mut login = engine.login(neighbour);
    assert!(waits(&mut login).await);
    assert!(!waits(&mut waiting.remove(1)).await, "the network has its share, the flood too much");
    assert!(!waits(&mut engine.login(flood)).await);
    assert!(!waits(&mut engine.login(neighbour)).await, "each of the two has one place");
    drop(open);
    for _ in 0..2 {
        waiting.pop().unwrap().await.is_granted(); // alice's, from elsewhere
    }
    login.await.is(400, "invalid_grant"); // mallory does not exist
}

/// Where the promise ends: the users of one backend cannot be told from names that were invented.
#[tokio::test]
async fn invented_names_at_a_web_backend_do_keep_its_own_users_out() {
    let (engine, _open) = Busy::new().await;
    let _waiting = fill(INVENTED.map(|from| engine.login(from))).await;
    assert!(!waits(&mut engine.login(THROUGH_SHOP)).await);
}

#[tokio::test]
async fn those_who_are_one_party_share_its_places() {
    let parties = [
        ("one address", ("192.0.2.1", "web", "mallory"), ALICE),
        ("nobody has an address", (NO_ADDRESS, "web", "mallory"), (NO_ADDRESS, "web", "alice")),
        ("one address through two clients", ("192.0.2.1", "app", "mallory"), ALICE),
        (
            "a public client that claims to be a web backend",
            ("192.0.2.1", "app", "mallory"),
            ("192.0.2.1", "app", "alice"),
        ),
    ];
    for (case, crowd, owner) in parties {
        let (engine, _open) = Busy::new().await;
        let _waiting = fill([0; PLACES].map(|_| engine.login(crowd))).await;
        assert!(!waits(&mut engine.login(owner)).await, "{case}");
    }
}

/// The secrets of clients may cost slow hashes, and anybody may guess at them.
#[tokio::test]
async fn guesses_at_client_secrets_take_turns_by_address() {
    let (engine, open) = Busy::new().await;
    let mut guesses = fill([0; PLACES].map(|_| engine.guess_at_secret("192.0.2.9"))).await;
    assert!(!waits(&mut engine.guess_at_secret("192.0.2.9")).await);
    let mut elsewhere = engine.guess_at_secret("192.0.2.8");
    assert!(waits(&mut elsewhere).await);
    guesses.pop().unwrap().await.is(503, "temporarily_unavailable");
    let mut login = engine.login(ALICE);
    assert!(waits(&mut login).await);
    guesses.pop().unwrap().await.is(503, "temporarily_unavailable");
    drop(open);
    login.await.is_granted();
    elsewhere.await.is(401, "invalid_client");
}

#[tokio::test]
async fn new_passwords_have_a_turn_of_their_own() {
    for peer in ["192.0.2.1", NO_ADDRESS] {
        let (engine, open) = Busy::new().await;
        let _waiting = fill([0; PLACES].map(|_| engine.login((peer, "web", "mallory")))).await;
        let mut enrolment = Box::pin(engine.passwords.hash("new password"));
        assert!(futures_util::poll!(&mut enrolment).is_pending());
        drop(open);
        enrolment.await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_frees_its_place_in_the_queue_at_once() {
    let (engine, open) = Busy::new().await;
    let mut waiting = fill([0; PLACES].map(|_| engine.login(ALICE))).await;
    let mut login = engine.login(ALICE);
    assert!(!waits(&mut login).await);
    drop(waiting.remove(1));
    let mut login = engine.login(ALICE);
    assert!(waits(&mut login).await);
    drop(open);
    login.await.is_granted();
}
