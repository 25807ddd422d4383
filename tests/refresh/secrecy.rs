//! Neither the store nor the events hold a token.

use std::sync::{Arc, Mutex};

use password_grant::state::{Change, Commit, InMemoryState, Loaded, StateKey, StateStore, Write};
use password_grant::{BoxError, RefreshTokens, async_trait};

use crate::common::sessions::{Gate, Pair, keys};
use crate::support::Instance;

/// Remembers every row that was written.
struct Recording {
    store: InMemoryState,
    written: Mutex<Vec<Vec<u8>>>,
}

#[async_trait]
impl StateStore for Recording {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        for Change { key, write, .. } in changes {
            let mut row = key.as_bytes().to_vec();
            if let Write::Put { value, .. } = write {
                row.extend(value);
            }
            self.written.lock().unwrap().push(row);
        }
        self.store.commit(changes).await
    }
}

/// Requirement 100: neither a leaked table nor the events reveal a token.
#[tokio::test]
async fn neither_the_store_nor_the_events_hold_a_token() {
    use base64::Engine as _;
    let store = Arc::new(Recording { store: InMemoryState::new(), written: Mutex::default() });
    let instance = Instance::over(store.clone());
    let mut tokens = vec![instance.login().await];
    for _ in 0..3 {
        let last = tokens.last().unwrap();
        tokens.push(Pair::of(&instance.refresh(&last.refresh).await));
    }
    instance.revoke(&tokens.last().unwrap().refresh).await;
    let written = store.written.lock().unwrap();
    assert!(written.len() >= 5);
    let events = instance.events.lines().concat();
    for Pair { refresh, access } in &tokens {
        let text = refresh.strip_prefix("rt1.").unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
        // No eight bytes of the token's secret or tag are stored.
        for part in bytes[28..].windows(8) {
            assert!(written.iter().all(|row| row.windows(8).all(|own| own != part)));
        }
        for hidden in [text, refresh.as_str(), access.as_str(), access.rsplit('.').next().unwrap()]
        {
            assert!(!events.contains(hidden));
            assert!(
                written
                    .iter()
                    .all(|row| !row.windows(hidden.len()).any(|own| own == hidden.as_bytes()))
            );
        }
    }
    let shown = format!("{:?} {:?}", keys(), RefreshTokens::new(keys(), Gate::default()));
    assert!(!shown.contains("17, 17") && !shown.to_lowercase().contains("0x11"), "{shown}");
}
