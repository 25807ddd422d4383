//! Fuzzes the stored password hash, a PHC string: no hash lets a wrong password log in, and none
//! panics.

#![no_main]

mod support;

use std::sync::{Arc, Mutex, OnceLock};

use libfuzzer_sys::fuzz_target;
use password_grant::password::Argon2Parameters;
use password_grant::{
    BoxError, Client, Environment, HashedPasswords, HttpRequest, PasswordGrant, RequestContext,
    User, UserStore, async_trait,
};

#[derive(Clone, Default)]
struct OneHash(Arc<Mutex<String>>);

#[async_trait]
impl UserStore for OneHash {
    async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
        Ok(Some(User::new("user-1", Some(self.0.lock().expect("nothing panics").clone()))))
    }

    async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
        Ok(())
    }
}

fuzz_target!(|stored: &str| {
    static ENGINE: OnceLock<(OneHash, PasswordGrant)> = OnceLock::new();
    let (hash, grant) = ENGINE.get_or_init(|| {
        let mut cheap = Argon2Parameters::default();
        (cheap.memory_kib, cheap.passes) = (64, 1);
        let store = OneHash::default();
        let users = HashedPasswords::builder(store.clone())
            .parameters(cheap)
            .strongest_stored(cheap)
            .threads(1);
        let users =
            users.environment(&Environment::new().observer(())).build().expect("one thread");
        (store, support::engine(Client::public("mobile"), users))
    });
    *hash.0.lock().expect("nothing panics") = stored.to_owned();
    let form = b"grant_type=password&client_id=mobile&username=alice&password=never+the+right+one&scope=profile";
    let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
    let answer = support::block_on(grant.token(HttpRequest::new("POST", None, headers, form)));
    assert_eq!(answer.status(), 400);
});
