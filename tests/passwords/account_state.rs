//! What a host decides after a right password.

use password_grant::password::AccountState;
use password_grant::{
    BoxError, HttpRequest, Login, LoginAttempt, RequestContext, User, UserStore, async_trait,
};

use crate::common::{Answer, FORM};
use crate::support::{Table, cheap, form, grant_over, hash, login, passwords_of};

#[tokio::test]
async fn a_host_decides_what_becomes_of_a_right_password() {
    struct Careful;
    #[async_trait]
    impl UserStore for Careful {
        async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            Ok(Some(User::new("user-1", Some(hash(cheap(), "wonderland")))))
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
        async fn accept(
            &self,
            _: &User,
            attempt: &LoginAttempt<'_>,
            login: Login,
        ) -> Result<Login, BoxError> {
            match attempt.username() {
                "mfa" => Ok(Login::more_needed("mfa_required").member("mfa_token", "m-1")),
                "broken" => Err("directory unreachable".into()),
                _ => Ok(login.claim("roles", "staff")),
            }
        }
    }
    let (grant, _) = grant_over(passwords_of(Careful));
    login(&grant, "mfa", "wonderland").await.is(403, "mfa_required");
    login(&grant, "mfa", "wrong").await.is(400, "invalid_grant");
    login(&grant, "broken", "wonderland").await.is(503, "temporarily_unavailable");
    assert_eq!(login(&grant, "anybody", "wonderland").await.claims()["roles"], "staff");
}

/// Incidents I7, I18: a hook that ignores the state of an account, or its scope, lets nobody in.
#[tokio::test]
async fn a_hosts_hook_cannot_accept_whom_the_account_state_rejects() {
    struct Hasty(AccountState);
    #[async_trait]
    impl UserStore for Hasty {
        async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            let user = User::new("user-1", Some(hash(cheap(), "wonderland"))).state(self.0);
            Ok(Some(user.scope("profile".parse().unwrap())))
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
        async fn accept(
            &self,
            user: &User,
            _: &LoginAttempt<'_>,
            _: Login,
        ) -> Result<Login, BoxError> {
            Ok(Login::accepted(user.subject().clone())
                .scope("profile orders:read".parse().unwrap()))
        }
    }
    struct Diligent;
    #[async_trait]
    impl UserStore for Diligent {
        async fn find(
            &self,
            name: &str,
            context: &RequestContext,
        ) -> Result<Option<User>, BoxError> {
            Hasty(AccountState::SecondFactorRequired).find(name, context).await
        }
        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
        async fn accept(
            &self,
            user: &User,
            attempt: &LoginAttempt<'_>,
            login: Login,
        ) -> Result<Login, BoxError> {
            assert!(!login.is_accepted());
            Ok(match attempt.username() {
                "passed" => user.second_factor_passed(),
                "other" => Login::accepted("somebody else"),
                _ => login,
            })
        }
    }
    let grant = |state| grant_over(passwords_of(Hasty(state))).0;
    for state in [
        AccountState::Disabled,
        AccountState::Locked,
        AccountState::Expired,
        AccountState::PasswordChangeRequired,
    ] {
        login(&grant(state), "alice", "wonderland").await.is(400, "invalid_grant");
    }
    login(&grant(AccountState::SecondFactorRequired), "alice", "wonderland")
        .await
        .is(400, "invalid_grant");
    let body = form("alice", "wonderland", "profile orders:read");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], body.as_bytes());
    let answer = Answer::from(grant(AccountState::Active).token(request).await);
    assert_eq!(answer.is_granted()["scope"], "profile");

    let (diligent, events) = grant_over(passwords_of(Diligent));
    assert_eq!(login(&diligent, "passed", "wonderland").await.claims()["sub"], "user-1");
    login(&diligent, "unasked", "wonderland").await.is(400, "invalid_grant");
    assert!(events.last().ends_with("rejected: SecondFactorRequired"));
    login(&diligent, "other", "wonderland").await.is(503, "temporarily_unavailable");
    assert!(events.last().contains("another subject"), "{}", events.last());
}

#[tokio::test]
async fn a_users_own_scope_narrows_the_token() {
    let user = User::new("user-1", Some(hash(cheap(), "wonderland")))
        .scope("orders:read profile".parse().unwrap());
    let narrow = User::new("user-2", Some(hash(cheap(), "wonderland")))
        .scope("orders:read".parse().unwrap());
    let table = Table::of([("alice", user), ("narrow", narrow)]);
    let (grant, _) = grant_over(passwords_of(table));
    assert_eq!(login(&grant, "alice", "wonderland").await.is_granted()["scope"], "profile");
    login(&grant, "narrow", "wonderland").await.is(400, "invalid_scope");
}
