//! The account gate is asked at every refresh, and a subject can be logged out everywhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use password_grant::state::InMemoryState;
use password_grant::{
    Admission, BoxError, Login, LoginAttempt, PasswordGrant, Rejection, RequestContext,
    UserAuthenticator, async_trait,
};

use crate::common::sessions::{OFFLINE, Pair, Sessions};
use crate::common::{Users, segment};
use crate::support::Instance;

/// The gate can add members to the answer of a refresh, as the authenticator does at the login.
#[tokio::test]
async fn the_gate_adds_members_to_the_answer_as_the_login_does() {
    let users = Users::who(|_| Ok(Login::accepted("user-1").member("plan", "gold")));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let login = sessions.ask("app", OFFLINE).await;
    assert_eq!(login.json()["plan"], "gold");
    let plan = |admission: Admission| admission.member("plan", "silver").member("seats", 3);
    sessions.gate.says(move |_| Ok(plan(Admission::admitted())));
    let answer = sessions.refresh("app", &Pair::of(&login).refresh).await;
    assert_eq!((&answer.json()["plan"], &answer.json()["seats"]), (&"silver".into(), &3.into()));
    let again = sessions.refresh("app", &Pair::of(&login).refresh).await;
    assert_eq!(again.json()["plan"], "silver", "an answer that was lost");
    // No member that the engine sets itself, and none in a refusal.
    let pair = Pair::of(&answer);
    for reserved in ["access_token", "expires_in", "scope", "error", "refresh_token", ""] {
        sessions.gate.says(move |_| Ok(Admission::admitted().member(reserved, "x")));
        sessions.refresh("app", &pair.refresh).await.is(500, "server_error");
    }
    sessions.gate.says(move |_| Ok(plan(Admission::refused(Rejection::Disabled))));
    let refused = sessions.refresh("app", &pair.refresh).await;
    refused.is(400, "invalid_grant");
    assert_eq!(refused.json().get("plan"), None);
    sessions.gate.says(|_| Ok(Admission::admitted()));
    assert_eq!(
        sessions.refresh("app", &pair.refresh).await.json().get("plan"),
        None,
        "members are not carried over"
    );
}

/// Requirements 99 and 110, incidents I5 and I7.
#[tokio::test]
async fn the_gate_is_asked_at_every_use() {
    let sessions = Sessions::new();
    let pair = sessions.login("app").await;
    let refused = sessions.refresh("app", "nonsense").await;
    for rejection in [Rejection::Disabled, Rejection::Locked, Rejection::PasswordChangeRequired] {
        sessions.gate.says(move |subject| {
            assert_eq!(subject.as_str(), "user-1");
            Ok(Admission::refused(rejection))
        });
        assert_eq!(sessions.refresh("app", &pair.refresh).await, refused);
        assert!(sessions.world.events.last().contains(&format!("Account({rejection:?})")));
    }
    sessions.gate.says(|_| Err("no connection".into()));
    sessions.refresh("app", &pair.refresh).await.is(503, "temporarily_unavailable");
    sessions.gate.says(|_| Ok(Admission::admitted()));
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

#[tokio::test]
async fn the_gate_can_narrow_the_scope_and_says_what_is_true_now() {
    let users =
        Users::who(|_| Ok(Login::accepted("user-1").claim("role", "admin").claim("since", 1)));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let pair = sessions.login("app").await;
    assert_eq!(segment(&pair.access, 1)["role"], "admin");
    sessions
        .gate
        .says(|_| Ok(Admission::admitted().claim("role", "clerk").scope("profile".parse()?)));
    let answer = sessions.refresh("app", &pair.refresh).await;
    let claims = answer.claims();
    assert_eq!((claims["role"].as_str(), claims.get("since")), (Some("clerk"), None));
    assert_eq!(claims["scope"], "profile");
    let pair = Pair::of(&answer);
    sessions.gate.says(|_| Ok(Admission::admitted().claim("sub", "somebody else")));
    sessions.refresh("app", &pair.refresh).await.is(500, "server_error");
    sessions.gate.says(|_| Ok(Admission::admitted()));
    assert_eq!(
        sessions.refresh("app", &pair.refresh).await.json()["scope"],
        "profile offline_access"
    );
}

/// Requirement 110: one commit ends the sessions on every device.
#[tokio::test]
async fn a_subject_can_be_logged_out_everywhere() {
    let users = Users::who(|attempt| Ok(Login::accepted(attempt.username())));
    let sessions = Sessions::over(users, |refresh| refresh, |builder| builder);
    let bob = OFFLINE.replace("alice", "bob");
    let (one, two, phone) =
        (sessions.login("app").await, sessions.login("app").await, sessions.login("phone").await);
    let bobs = Pair::of(&sessions.ask("app", &bob).await);
    sessions.world.grant.log_out_everywhere(&"alice".into(), &RequestContext::new()).await.unwrap();
    assert!(
        sessions.world.events.last().contains("subject \"alice\" ended: logged out everywhere")
    );
    for (client, pair) in [("app", &one), ("app", &two), ("phone", &phone)] {
        sessions.refresh(client, &pair.refresh).await.is(400, "invalid_grant");
        assert!(!sessions.is_active(&pair.access).await);
        assert!(sessions.verifier().verify(&pair.access).await.is_err());
    }
    sessions.refresh("app", &bobs.refresh).await.is_granted();
    // Even at the same instant, a new login begins a new session.
    let anew = sessions.login("app").await;
    assert!(sessions.is_active(&anew.access).await);
    let anew = Pair::of(&sessions.refresh("app", &anew.refresh).await);
    // A second log-out ends that session too.
    sessions.world.grant.log_out_everywhere(&"alice".into(), &RequestContext::new()).await.unwrap();
    sessions.refresh("app", &anew.refresh).await.is(400, "invalid_grant");
    sessions.login("app").await;
}

/// Logs a subject out while it judges the password, as a password change that comes in between
/// would.
struct ChangedMeanwhile {
    grant: Arc<OnceLock<PasswordGrant>>,
    changes: Arc<AtomicBool>,
}

#[async_trait]
impl UserAuthenticator for ChangedMeanwhile {
    async fn authenticate(&self, _: LoginAttempt<'_>) -> Result<Login, BoxError> {
        let subject = if self.changes.load(Ordering::SeqCst) { "user-1" } else { "user-2" };
        if let Some(grant) = self.grant.get() {
            grant.log_out_everywhere(&subject.into(), &RequestContext::new()).await?;
        }
        Ok(Login::accepted("user-1"))
    }
}

#[tokio::test]
async fn a_login_with_the_password_of_before_a_change_yields_no_family_after_it() {
    let (grant, changes) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(true)));
    let users = ChangedMeanwhile { grant: grant.clone(), changes: changes.clone() };
    let engine = Instance::over_users(InMemoryState::new(), users, |refresh| refresh);
    grant.set(engine.grant.clone()).ok().unwrap();
    engine.send("app", OFFLINE).await.is(503, "temporarily_unavailable");
    // An access token alone is not active from the start.
    let alone = engine.send("app", &OFFLINE.replace("+offline_access", "")).await.access_token();
    assert!(!engine.is_active(&alone).await);
    // The log-out of another subject changes nothing.
    changes.store(false, Ordering::SeqCst);
    engine.send("app", OFFLINE).await.is_granted();
    let alone = engine.send("app", &OFFLINE.replace("+offline_access", "")).await.access_token();
    assert!(engine.is_active(&alone).await);
}
