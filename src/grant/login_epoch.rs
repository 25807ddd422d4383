//! A login beside a log-out of the same subject, which may have come since the password was looked at: the engine's side
//! of [`state::log_out`](crate::session::epoch).

use std::time::Duration;

use crate::error::ServerFault;
use crate::grant::Engine;
use crate::refusal::{OrFault, Refusal};
use crate::session::epoch::SubjectEpoch;
use crate::time::Timestamp;
use crate::types::identifier::Subject;

/// The last log-out of anybody when a login began, before its password was looked at.
#[derive(Clone, Copy)]
pub(crate) struct LoginEpoch(SubjectEpoch);

impl LoginEpoch {
    /// A log-out with a greater number came later.
    pub(crate) fn number(self) -> u64 {
        self.0.number
    }
}

/// The longest that a login waits for the second of a log-out to pass. One that lies further ahead was dated by a clock
/// that is ahead of ours.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often it is put to sleep for that.
const SLEEPS: usize = 4;

impl Engine {
    /// Notes where log-outs stand.
    pub(crate) async fn beginning(&self) -> Result<LoginEpoch, Refusal> {
        let last = self.revocations.last_log_out().await;
        last.map(LoginEpoch).or_fault(ServerFault::StateStore)
    }

    /// Waits until a token without a session can be told from those of before its subject's last log-out. Both are dated in
    /// whole seconds, and of the same second the log-out counts as later: the token would be dead from its beginning.
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
        // Nearly always that was long ago, and then it does not matter whose it was.
        if left(last).is_zero() {
            return Ok(());
        }
        // A clock may wake too soon; one that does so every time is not asked for ever.
        for _ in 0..SLEEPS {
            match left(self.own_log_out(last, subject).await?) {
                Duration::ZERO => return Ok(()),
                wait if wait <= LONGEST_WAIT => self.settings.environment.clock.sleep(wait).await,
                wait => return Err(Refusal::new(ServerFault::LogOutAhead).retry_after(wait)),
            }
        }
        Err(ServerFault::LogOutAhead.into())
    }

    /// Refuses a token without a session whose subject was logged out since the login began: the password that was right
    /// may have been the former one. To be asked once the token is dated.
    pub(crate) async fn not_logged_out_since(
        &self,
        LoginEpoch(last): LoginEpoch,
        subject: &Subject,
    ) -> Result<(), Refusal> {
        if self.beginning().await?.0 != last {
            self.own_log_out(last, subject).await?;
        }
        Ok(())
    }

    /// The subject's last log-out, which must not have come after this one, nor have been dated again since: then it was
    /// still under way.
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
