//! Public clients (method `none`): the request names its client and presents nothing to verify.

use crate::client::AuthenticationMethod;
use crate::client::authenticate::basic::Basic;
use crate::client::authenticate::{AuthenticatedClient, Authenticator, ClientIds};
use crate::refusal::Refusal;

/// The identifier of a public client, from `client_id` in the body. Two widely used programs send
/// Basic credentials with an empty secret for a public client instead; such credentials have no
/// other meaning.
pub(crate) enum PublicCredential<'r> {
    Body(&'r str),
    BasicWithoutSecret(Basic),
}

impl PublicCredential<'_> {
    pub(super) fn client_ids(&self) -> ClientIds<'_> {
        match self {
            Self::Body(client_id) => [Some(*client_id), None, None],
            Self::BasicWithoutSecret(basic) => basic.client_ids(),
        }
    }

    pub(super) async fn authenticate(
        &self,
        authenticator: &Authenticator<'_>,
    ) -> Result<AuthenticatedClient, Refusal> {
        let admit = |client| authenticator.admit(client, AuthenticationMethod::None);
        authenticator.one_of(self.client_ids(), admit).await?.into_result()
    }
}
