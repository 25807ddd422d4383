//! Public clients (`none`): a request that names its client and presents nothing to verify.

use crate::client::AuthenticationMethod;
use crate::client::authenticate::basic::Basic;
use crate::client::authenticate::{AuthenticatedClient, Authenticator};
use crate::refusal::Refusal;

/// The identifier of a public client, from `client_id` in the body. Two widely used programs send
/// Basic credentials with an empty secret for a public client, which have no other meaning.
pub(crate) enum PublicCredential<'r> {
    Body(&'r str),
    BasicWithoutSecret(Basic),
}

impl PublicCredential<'_> {
    pub(super) fn client_ids(&self) -> impl Iterator<Item = &str> {
        let (body, basic) = match self {
            Self::Body(client_id) => (Some(*client_id), None),
            Self::BasicWithoutSecret(basic) => (None, Some(basic)),
        };
        body.into_iter().chain(basic.into_iter().flat_map(Basic::client_ids))
    }

    pub(super) async fn authenticate(
        &self,
        authenticator: &Authenticator<'_>,
    ) -> Result<AuthenticatedClient, Refusal> {
        let admit = |client| authenticator.admit(client, AuthenticationMethod::None);
        authenticator.one_of(self.client_ids(), admit).await?.into_result()
    }
}
