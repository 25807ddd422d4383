//! Memory that holds a password or a client secret is overwritten before it is freed (requirement
//! 30).
#![cfg(feature = "argon2")]
#![allow(unsafe_code)] // a global allocator that looks at what is freed cannot be written without

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{AUDIENCE, Answer, FORM, ISSUER, basic};
use password_grant::password::Argon2Parameters;
use password_grant::{
    BoxError, Environment, HashedPasswords, HttpRequest, JwtIssuer, PasswordGrant, RequestContext,
    SigningKeys, User, UserStore, async_trait,
};

/// Both secrets contain this text, and their encoded forms do not.
const MARKER: &[u8] = b"correct horse battery";
const PASSWORD: &str = "correct horse battery staple";
const ENCODED_PASSWORD: &str = "correct%20horse+battery+staple";

#[global_allocator]
static ALLOCATOR: Inspecting = Inspecting;

struct Inspecting;

/// How many blocks were freed, on any thread, that still contained the marker.
static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

/// How often memory of the size and alignment of a `CHEAP` hash was freed, and how often it was not
/// wiped before. Nothing else in this process has that size and alignment.
static HASHING_MEMORY: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
const CHEAP: Argon2Parameters = Argon2Parameters::new(64, 1, 1);

// SAFETY: all calls are passed on to the system's allocator unchanged. Memory is allocated with
// zeros, so every byte that is read was initialised.
unsafe impl GlobalAlloc for Inspecting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let block = unsafe { std::slice::from_raw_parts(pointer, layout.size().min(4096)) };
        if block.windows(MARKER.len()).any(|window| window == MARKER) {
            LEFT_BEHIND.fetch_add(1, Ordering::SeqCst);
        }
        if (layout.size(), layout.align()) == (64 * 1024, 64) {
            let memory = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
            let is_dirty = memory.iter().any(|byte| *byte != 0);
            HASHING_MEMORY[0].fetch_add(1, Ordering::SeqCst);
            HASHING_MEMORY[1].fetch_add(usize::from(is_dirty), Ordering::SeqCst);
        }
        unsafe { System.dealloc(pointer, layout) }
    }
}

struct OneUser(String);

#[async_trait]
impl UserStore for OneUser {
    async fn find(&self, username: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        Ok((username == "alice").then(|| User::new("user-1", Some(self.0.clone()))))
    }

    async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
        Ok(())
    }
}

fn left_behind() -> usize {
    LEFT_BEHIND.load(Ordering::SeqCst)
}

/// This is one test, because the allocator sees all threads.
#[tokio::test]
async fn no_freed_memory_holds_a_password_or_a_client_secret() {
    let before = left_behind();
    drop(PASSWORD.to_owned());
    assert_eq!(left_behind(), before + 1, "the allocator sees what is left behind");

    let mut stronger = CHEAP;
    stronger.passes = 2;
    let users = OneUser(CHEAP.hash(PASSWORD).unwrap());
    let [freed, not_wiped] = HASHING_MEMORY.each_ref().map(|count| count.load(Ordering::SeqCst));
    assert_eq!((freed, not_wiped), (1, 0), "the memory of a hash tells as much as its password");
    let users = HashedPasswords::builder(users)
        .parameters(stronger)
        .threads(1)
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();
    let clients = common::clients();
    let secret = password_grant::ClientSecret::digest_of(PASSWORD);
    let client = password_grant::Client::confidential("odd", secret)
        .grants([password_grant::Grant::Password]);
    clients.insert(client.scope("profile".parse().unwrap()));
    let tokens = JwtIssuer::new(SigningKeys::generate().unwrap(), AUDIENCE);
    let grant = PasswordGrant::builder(ISSUER, clients, users.clone(), tokens)
        .environment(&Environment::new().observer(()))
        .build()
        .unwrap();

    let (encoded, wrong) =
        (basic("odd", ENCODED_PASSWORD), basic("odd", &format!("{ENCODED_PASSWORD}x")));
    let before = left_behind();
    for (authorization, username, tail, status) in [
        (&encoded, "alice", "", 200),
        (&encoded, "alice", "x", 400),
        (&encoded, "nobody", "", 400),
        (&encoded, "alice", "%00", 400),
        (&encoded, "alice", "&password=again", 400),
        (&encoded, "alice", "%zz", 400),
        (&encoded, "alice", "%ff", 400),
        (&encoded, "alice", "&scope=admin", 400),
        (&wrong, "alice", "", 401),
    ] {
        let scope = if tail.contains("scope") { "" } else { "&scope=profile" };
        let body = format!(
            "grant_type=password{scope}&username={username}&password={ENCODED_PASSWORD}{tail}"
        );
        let headers =
            [("content-type", FORM.as_bytes()), ("authorization", authorization.as_bytes())];
        let answer = Answer::from(
            grant.token(HttpRequest::new("POST", None, headers, body.as_bytes())).await,
        );
        assert_eq!(answer.status, status, "{username} {tail}: {}", answer.body);
    }
    users.hash(PASSWORD).await.unwrap();
    // The hashing threads end with the last handle, and free what they still held.
    drop((grant, users));
    assert_eq!(left_behind() - before, 0);
}
