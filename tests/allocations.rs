//! How much memory the engine asks for: few allocations for a token, bounded ones for whatever else
//! is sent to it.

#![allow(unsafe_code)] // a global allocator that counts cannot be written without

#[path = "../benches/support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use password_grant::resource::BearerRequest;
use password_grant::{Algorithm, HttpRequest, TokenRequest};

use support::{AUTHORIZATION, Case, block_on, keys, request};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

thread_local! {
    // Initialised at compile time and without a destructor, so that counting does not allocate.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static SIZES: Cell<[usize; 16]> = const { Cell::new([0; 16]) };
}

/// Counts the allocations of all threads, because passwords are hashed on threads of their own.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

fn note(bytes: usize) {
    let count = COUNT.get();
    COUNT.set(count + 1);
    BYTES.set(BYTES.get() + bytes);
    let mut sizes = SIZES.get();
    if let Some(slot) = sizes.get_mut(count) {
        *slot = bytes;
        SIZES.set(sizes);
    }
    LARGEST.fetch_max(bytes, Ordering::Relaxed);
}

// SAFETY: all calls are passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What one run has allocated on this thread. Growing an allocation counts as one more, of the new
/// size.
struct Asked {
    count: usize,
    bytes: usize,
    /// The sizes of the first allocations.
    sizes: Vec<usize>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} allocations, {} bytes {:?}", self.count, self.bytes, self.sizes)
    }
}

fn asked_by<T>(run: impl FnOnce() -> T) -> (T, Asked) {
    COUNT.set(0);
    BYTES.set(0);
    let result = run();
    let (count, bytes, sizes) = (COUNT.get(), BYTES.get(), SIZES.get());
    (result, Asked { count, bytes, sizes: sizes.into_iter().take(count).collect() })
}

/// The largest of several runs: the number of allocations of an ES256 signature depends on its
/// numbers.
fn most_asked_by<T>(mut run: impl FnMut() -> T) -> Asked {
    let runs = (0..100).map(|_| asked_by(&mut run).1);
    runs.max_by_key(|asked| asked.count).expect("a run")
}

/// Three of the seven are the futures of the host's traits. The others are the decoded credentials,
/// the claims, the token and the answer.
const FOR_A_TOKEN: usize = 7;

fn a_token_costs_at_most_seven_allocations_beyond_its_signature(algorithm: Algorithm) {
    let case = Case::new(algorithm);
    let mut signature = [0; keys::SIGNATURE];
    let bare = most_asked_by(|| case.bare_signature.sign(case.signing_input(), &mut signature));
    let whole = most_asked_by(|| assert_eq!(block_on(case.grant.token(request())).status(), 200));
    let floor =
        most_asked_by(|| case.hand_written.answer("POST", &support::HEADERS, support::BODY));
    println!("{algorithm}: grant {whole}, bare signature {bare}, hand-written {floor}");
    assert!(
        whole.count <= FOR_A_TOKEN + bare.count,
        "{algorithm}: {FOR_A_TOKEN} + {}: {whole}",
        bare.count
    );
}

#[test]
fn an_hs256_token_costs_at_most_seven_allocations() {
    a_token_costs_at_most_seven_allocations_beyond_its_signature(Algorithm::Hs256);
}

#[test]
fn an_eddsa_token_costs_at_most_seven_allocations_beyond_its_signature() {
    a_token_costs_at_most_seven_allocations_beyond_its_signature(Algorithm::EdDsa);
}

#[test]
fn an_es256_token_costs_at_most_seven_allocations_beyond_its_signature() {
    a_token_costs_at_most_seven_allocations_beyond_its_signature(Algorithm::Es256);
}

#[test]
fn an_rs256_token_costs_at_most_seven_allocations_beyond_its_signature() {
    a_token_costs_at_most_seven_allocations_beyond_its_signature(Algorithm::Rs256);
}

/// On top of the seven: the rows of the session, their keys, and the refresh token.
const FOR_A_REFRESH_TOKEN: usize = 20;

#[test]
fn a_refresh_token_costs_a_bounded_number_of_allocations() {
    let case = support::sessions::SessionCase::new();
    let without = most_asked_by(|| case.login_without());
    let with = most_asked_by(|| case.login());
    println!("login {without}, with a refresh token {with}");
    assert!(with.count <= without.count + FOR_A_REFRESH_TOKEN, "{without}; {with}");
}

#[test]
fn a_verification_is_within_what_its_token_says() {
    for algorithm in support::ALGORITHMS {
        let case = Case::new(algorithm);
        let (_, bare) =
            asked_by(|| case.bare_verification.verify(case.signing_input(), &case.signature));
        let (verified, whole) = asked_by(|| block_on(case.verifier.verify(&case.token)));
        println!("{algorithm}: verify {whole}, bare verification {bare}");
        assert!(verified.is_ok());
        assert!(whole.bytes <= bare.bytes + 16 * case.token.len(), "{algorithm}: {whole}");
    }
}

/// No request may cost more memory than a small multiple of its own size.
fn assert_bounded(name: &str, sent: usize, asked: &Asked) {
    const FACTOR: usize = 4;
    const CONSTANT: usize = 8 * 1024;
    println!(
        "{name}: {sent} bytes sent, {} allocations, {} bytes asked for",
        asked.count, asked.bytes
    );
    assert!(asked.bytes <= FACTOR * sent + CONSTANT, "{name}: {asked}, for {sent} bytes");
}

fn hostile_bodies() -> Vec<(&'static str, Vec<u8>)> {
    const FULL: usize = 64 * 1024;
    let filled = |piece: &str| piece.bytes().cycle().take(FULL).collect::<Vec<u8>>();
    let after = |start: &str, piece: &str| {
        start.bytes().chain(piece.bytes().cycle()).take(FULL).collect::<Vec<u8>>()
    };
    let distinct = |length: usize| {
        let pairs = (0..).map(|number| format!("{number:0length$}=1&"));
        pairs.flat_map(String::into_bytes).take(FULL).collect::<Vec<u8>>()
    };
    let equal_shares = |count: usize, piece: &str| {
        let share = piece.repeat(FULL / count / piece.len() - 8);
        let pairs = (0..count).map(|number| format!("x{number}={share}&"));
        pairs.flat_map(String::into_bytes).collect::<Vec<u8>>()
    };
    vec![
        ("nothing but &", filled("&")),
        ("nothing but =", filled("=")),
        ("nothing but &=", filled("&=")),
        ("nothing but %", filled("%")),
        ("nothing but +", filled("+")),
        ("zero bytes", filled("\0")),
        ("bytes that are not UTF-8", vec![0xff; FULL]),
        ("one pair again and again", filled("a=1&")),
        ("one known pair again and again", filled("username=alice&")),
        ("repeatable pairs without end", filled("audience=a&")),
        ("encoded repeatable pairs without end", filled("audience=%61&")),
        ("distinct short names", distinct(4)),
        ("distinct names of 64 bytes", distinct(64)),
        ("one huge encoded name", after("", "%61")),
        ("one huge encoded value", after("password=", "%41")),
        ("one huge encoded value, cut off", after("password=", "%4")),
        ("one huge encoded value that is not UTF-8", after("password=", "%ff")),
        ("31 encoded values", equal_shares(31, "%41")),
        ("a scope of 16 KiB", scope_of(16 * 1024)),
        ("an encoded scope of 16 KiB", after("scope=", "%61+")),
        (
            "a scope of the most tokens",
            format!("{VALID}&scope={}", distinct_tokens(64)).into_bytes(),
        ),
        (
            "a scope of too many tokens",
            format!("{VALID}&scope={}", distinct_tokens(65)).into_bytes(),
        ),
    ]
}

const VALID: &str = "grant_type=password&username=alice&password=wonderland";

fn scope_of(bytes: usize) -> Vec<u8> {
    let mut body = format!("{VALID}&scope=").into_bytes();
    let tokens = (0..).map(|number| format!("{number}+"));
    body.extend(tokens.flat_map(String::into_bytes).take(bytes));
    body
}

fn distinct_tokens(count: usize) -> String {
    (0..count).map(|number| format!("t{number}")).collect::<Vec<_>>().join("+")
}

fn posted<'a>(body: &'a [u8]) -> HttpRequest<'a> {
    let headers: [(&str, &'a [u8]); 2] =
        [("content-type", b"application/x-www-form-urlencoded"), ("authorization", AUTHORIZATION)];
    HttpRequest::new("POST", None, headers, body)
}

#[test]
fn no_body_makes_the_parser_ask_for_more_than_four_times_its_size() {
    for (name, body) in hostile_bodies() {
        let request = posted(&body);
        let (_, asked) = asked_by(|| TokenRequest::from_http(&request).is_ok());
        assert_bounded(name, body.len(), &asked);
    }
}

#[test]
fn no_body_makes_the_engine_ask_for_more_than_four_times_its_size() {
    let case = Case::new(Algorithm::Hs256);
    for (name, body) in hostile_bodies() {
        let (answer, asked) = asked_by(|| block_on(case.limited.token(posted(&body))));
        assert_eq!(answer.status(), 400, "{name}");
        assert_bounded(name, body.len(), &asked);
    }
}

#[test]
fn no_basic_header_makes_the_engine_ask_for_more_than_four_times_its_size() {
    let case = Case::new(Algorithm::Hs256);
    let encoded = |text: String| format!("Basic {}", STANDARD.encode(text));
    let headers = [
        ("16 KiB of base64", format!("Basic {}", "A".repeat(16 * 1024))),
        (
            "the longest credentials, percent-encoded",
            encoded(format!("{}:{}", "%61".repeat(256), "%61".repeat(512))),
        ),
        ("a long identifier", encoded(format!("{}:x", "a".repeat(2000)))),
    ];
    for (name, header) in headers {
        let parts: [(&str, &[u8]); 2] = [
            ("content-type", b"application/x-www-form-urlencoded"),
            ("authorization", header.as_bytes()),
        ];
        let request = HttpRequest::new("POST", None, parts, support::BODY);
        let (answer, asked) = asked_by(|| block_on(case.limited.token(request)));
        assert_eq!(answer.status(), 401, "{name}");
        assert_bounded(name, header.len(), &asked);
    }
}

#[test]
fn no_bearer_token_makes_the_verifier_ask_for_more_than_four_times_its_size() {
    assert_refused_cheaply([
        ("8 KiB of dots", ".".repeat(8 * 1024)),
        ("64 KiB of dots", ".".repeat(64 * 1024)),
        ("8 KiB without a dot", "a".repeat(8 * 1024)),
        ("a header of 8 KiB of base64url", format!("{}.e30.AA", "A".repeat(8000))),
        ("a payload of 8 KiB of base64url", format!("e30.{}.AA", "A".repeat(8000))),
        ("a signature of 8 KiB of base64url", format!("e30.e30.{}", "A".repeat(8000))),
    ]);
}

/// The header is read before the signature is verified, so anybody can write one.
#[test]
fn no_json_in_the_header_of_a_bearer_token_makes_the_verifier_ask_for_more_than_four_times_its_size()
 {
    let token = |header: &str| format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
    let members = (0..700).map(|number| format!(r#""{number:x}":0"#)).collect::<Vec<_>>().join(",");
    assert_refused_cheaply([
        ("nested arrays", token(&"[".repeat(6000))),
        ("nested objects", token(&r#"{"a":"#.repeat(1200))),
        ("a long text", token(&format!(r#"{{"alg":"{}"}}"#, "a".repeat(5900)))),
        ("many members", token(&format!("{{{members}}}"))),
        (
            "an array of many elements",
            token(&format!(r#"{{"a":[{}]}}"#, vec!["0"; 2900].join(","))),
        ),
    ]);
}

fn assert_refused_cheaply<const N: usize>(tokens: [(&str, String); N]) {
    let case = Case::new(Algorithm::EdDsa);
    for (name, token) in tokens {
        let (verified, asked) = asked_by(|| block_on(case.verifier.verify(&token)));
        assert!(verified.is_err(), "{name}");
        assert_bounded(name, token.len(), &asked);

        let header = format!("Bearer {token}");
        let headers = [("authorization", header.as_bytes())];
        let request = BearerRequest::new(headers, None);
        let (refused, asked) = asked_by(|| block_on(case.verifier.authenticate(request)).is_err());
        assert!(refused, "{name}");
        assert_bounded(name, header.len(), &asked);
    }
}

#[cfg(feature = "argon2")]
mod stored_hashes {
    use super::{LARGEST, Ordering, block_on, posted};
    use crate::support::keys::KeyPair;
    use crate::support::{SUBJECT, engine_with};
    use password_grant::password::Argon2Parameters;
    use password_grant::{
        Algorithm, BoxError, Environment, HashedPasswords, RequestContext, User, UserStore,
        async_trait,
    };

    /// A user table in which the user name is the stored hash.
    struct HashIsTheName;

    #[async_trait]
    impl UserStore for HashIsTheName {
        async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            Ok(Some(User::new(SUBJECT, Some(username.to_owned()))))
        }

        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
    }

    /// The largest allocation of any thread during a login against this stored hash.
    fn largest_for(parameters: &str) -> usize {
        let mut cheap = Argon2Parameters::default();
        (cheap.memory_kib, cheap.passes) = (64, 1);
        let users = HashedPasswords::builder(HashIsTheName)
            .parameters(cheap)
            .threads(1)
            .environment(&Environment::new().observer(()))
            .build();
        let grant = engine_with(users.expect("threads"), &KeyPair::generate(Algorithm::Hs256));
        let hash = format!(
            "$argon2id$v=19${parameters}$edwmptBJ1ZfDOEsdgFvW/Q$EioZPaC20z+pPX5xAZTKntsTtZk4GK0RA10L9C7Eo9o"
        );
        let username = hash.replace('+', "%2B");
        let body =
            format!("grant_type=password&username={username}&password=wonderland&scope=profile");
        LARGEST.store(0, Ordering::Relaxed);
        let answer = block_on(grant.token(posted(body.as_bytes())));
        assert_eq!(answer.status(), 400);
        LARGEST.load(Ordering::Relaxed)
    }

    #[test]
    fn a_stored_hash_beyond_the_ceiling_is_refused_without_its_memory() {
        const MIB: usize = 1024 * 1024;
        // Within the ceiling the hash is computed, so this does measure the memory of hashes.
        assert!(largest_for("m=32768,t=1,p=1") >= 32 * MIB);
        let dear = [
            "m=4194304,t=1,p=1",
            "m=4294967295,t=1,p=1",
            "m=65537,t=1,p=1",
            "m=65536,t=17,p=1",
            "m=65536,t=1,p=17",
        ];
        for parameters in dear {
            let largest = largest_for(parameters);
            println!("{parameters}: largest allocation {largest} bytes");
            assert!(largest < MIB, "{parameters}: {largest} bytes");
        }
    }
}
