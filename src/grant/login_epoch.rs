//! Logins that race with a log-out of the same subject, which may come after the password was
//! judged: the engine's side of the [subject epoch](crate::session::epoch).

use crate::error::ServerFault;
use crate::grant::engine::Engine;
use crate::refusal::{OrFault, Refusal};

impl Engine {
    /// Reads the number of the last log-out of any subject. To be called before the credentials are
    /// judged.
    pub(crate) async fn login_epoch(&self) -> Result<u64, Refusal> {
        let last = self.revocations.last_log_out().await;
        last.map(|last| last.number).or_fault(ServerFault::StateStore)
    }
}
