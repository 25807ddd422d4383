//! Logins that race with a log-out of the same subject, which may come after the password was
//! judged: the engine's side of the [subject epoch](crate::session::epoch).

use std::time::Duration;

use crate::error::ServerFault;
use crate::grant::engine::Engine;
use crate::refusal::{OrFault, Refusal};
use crate::session::epoch::SubjectEpoch;
use crate::time::Timestamp;
use crate::types::identifier::Subject;

/// The last log-out of any subject when a login began, before its password was judged.
#[derive(Clone, Copy)]
pub(crate) struct LoginEpoch(SubjectEpoch);

impl LoginEpoch {
    /// The number of that log-out. Later log-outs have greater numbers.
    pub(crate) fn number(self) -> u64 {
        self.0.number
    }
}

/// The longest time that a login waits for the second of a log-out to pass. A log-out that lies
/// further ahead was dated by a clock that is ahead of the engine's.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The maximum number of sleeps during that wait.
const SLEEPS: usize = 4;

impl Engine {
    /// Reads the last log-out of any subject. To be called before the credentials are judged.
    pub(crate) async fn login_epoch(&self) -> Result<LoginEpoch, Refusal> {
        let last = self.revocations.last_log_out().await;
        last.map(LoginEpoch).or_fault(ServerFault::StateStore)
    }

    /// Waits until a token without a session can be told from those issued before its subject's
    /// last log-out. Both are dated in whole seconds, and in the same second the log-out counts as
    /// later: a token of that second would be invalid from the start.
    pub(crate) async fn outlast_log_out(
        &self,
        LoginEpoch(last): LoginEpoch,
        subject: &Subject,
    ) -> Result<(), Refusal> {
        let left = |log_out: SubjectEpoch| {
            let over = Timestamp::from_unix_seconds((log_out.at / 1000).saturating_add(1));
            if log_out.number == 0 {
                Duration::ZERO
            } else {
                over.since(self.settings.environment.clock.now())
            }
        };
        // Nearly always the last log-out of any subject was long ago, and its subject does not
        // matter.
        if left(last).is_zero() {
            return Ok(());
        }
        // A clock may wake too early. The number of sleeps is limited in case it always does.
        for _ in 0..SLEEPS {
            match left(self.own_log_out(last, subject).await?) {
                Duration::ZERO => return Ok(()),
                wait if wait <= LONGEST_WAIT => self.settings.environment.clock.sleep(wait).await,
                wait => return Err(Refusal::new(ServerFault::LogOutAhead).retry_after(wait)),
            }
        }
        Err(ServerFault::LogOutAhead.into())
    }

    /// Refuses a token without a session if its subject was logged out since the login began: the
    /// password that was accepted may have been the former one. To be called after the token is
    /// dated.
    pub(crate) async fn not_logged_out_since(
        &self,
        LoginEpoch(last): LoginEpoch,
        subject: &Subject,
    ) -> Result<(), Refusal> {
        if self.login_epoch().await?.0 != last {
            self.own_log_out(last, subject).await?;
        }
        Ok(())
    }

    /// The subject's last log-out. The login is refused if that log-out came after `last`, or was
    /// dated again since then, which means that it was still under way.
    async fn own_log_out(
        &self,
        last: SubjectEpoch,
        subject: &Subject,
    ) -> Result<SubjectEpoch, Refusal> {
        let own = self.revocations.last_log_out_of(subject.as_str()).await;
        let own = own.or_fault(ServerFault::StateStore)?;
        let came_since = own.number > last.number || own.at > last.at;
        if came_since { Err(ServerFault::LoggedOutMeanwhile.into()) } else { Ok(own) }
    }
}
