//! The numbers of the attempt limiter, as a host sets them.

use std::time::Duration;

use crate::limiter::failures::WindowRule;
use crate::limiter::rule::Rule;
use crate::session::epoch::SubjectEpoch;
use crate::time::millis;

/// The limits of the attempt limiter. It is on by default, with these numbers:
///
/// | what is counted | failures | what is admitted then |
/// | --- | --- | --- |
/// | a user name | 10 in a row | one attempt a second, then every 2, 4, … s, up to 15 min |
/// | | 100 in a row | none for 24 hours |
/// | | 200 in 24 hours | one attempt every 15 minutes |
/// | a user name from a known origin | the same, counted apart | the same |
/// | an address (IPv6: /64) | 300 in 10 minutes | none until there are fewer |
/// | an IPv6 network (/48) | 3,000 in 10 minutes | none until there are fewer |
/// | a client's failed authentications from an address | 20 in 10 minutes | none until there are fewer |
/// | and from an IPv6 network | 200 in 10 minutes | none from an address that has failed |
///
/// A *known origin* is a client together with an address (IPv6: /64) or a verified device
/// ([`HttpRequest::device`](crate::HttpRequest::device)) through which the owner of the name has
/// logged in before. An attempt from there is counted there and nowhere else. Neither failures
/// elsewhere, nor failures on other names at the same address or in its network, make the owner
/// wait there. An account has at most 20 known origins, and
/// [`log_out_everywhere`](crate::PasswordGrant::log_out_everywhere) makes all of them unknown.
///
/// User names and known origins are counted within a tenant, addresses and networks in all tenants
/// together.
///
/// An attempt over a limit is answered 429 `temporarily_unavailable` with `Retry-After`. No user is
/// looked up and no password is hashed for it, so the right password is refused like a wrong one. A
/// successful login clears the failures in a row on its user name, but never those of its address.
/// A login that needs [another step](crate::Login::more_needed) clears nothing.
///
/// If only attempts that are being judged stand in the way of another attempt on the same name, it
/// waits for them, in the order of arrival. At most 64 attempts wait for one name, 64 from one
/// address (IPv6: /64), 256 from one IPv6 network (/48) and 1,024 in one process. Further ones are
/// answered 429.
///
/// Addresses are counted only if the host passes them with
/// [`HttpRequest::peer`](crate::HttpRequest::peer). Pass the caller's own address and not that of a
/// proxy, or all callers are counted as one. Where a web application's server logs its users in,
/// its address is that of all of them: register it as a
/// [`web_backend`](crate::ClientBuilder::web_backend).
///
/// A number outside the range that is documented for it is a
/// [`BuildError::AttemptLimits`](crate::BuildError::AttemptLimits).
///
/// ```
/// use password_grant::AttemptLimits;
/// use std::time::Duration;
///
/// let limits = AttemptLimits::default().burst(5).source(1000, Duration::from_secs(600));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct AttemptLimits {
    burst: u32,
    waits: (Duration, Duration),
    consecutive: u32,
    rolling: (u32, Duration),
    source: (u32, Duration),
    network: (u32, Duration),
    client: (u32, Duration),
    known_origins: Duration,
    timeout: Duration,
    attempt_timeout: Duration,
    alarm: u32,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        let ten_minutes = Duration::from_secs(600);
        let day = Duration::from_secs(86_400);
        Self {
            burst: 10,
            waits: (Duration::from_secs(1), Duration::from_secs(900)),
            consecutive: 100,
            rolling: (200, day),
            source: (300, ten_minutes),
            network: (3_000, ten_minutes),
            client: (20, ten_minutes),
            known_origins: 90 * day,
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(60),
            alarm: 100,
        }
    }
}

const _: () = assert!(
    SubjectEpoch::TTL.as_secs() > AttemptLimits::MAX_KNOWN_ORIGINS.as_secs(),
    "a log-out is remembered for longer than an origin that it ends may be known"
);

impl AttemptLimits {
    /// The longest time for which an origin may be known.
    const MAX_KNOWN_ORIGINS: Duration = Duration::from_secs(400 * 86_400);

    /// How many failures in a row a user name may have before it has to wait. As many logins of one
    /// name can be judged at the same time; further ones wait for these. From 1 to
    /// [`consecutive`](Self::consecutive). Default 10.
    pub fn burst(mut self, failures: u32) -> Self {
        self.burst = failures;
        self
    }

    /// The first wait, which doubles with each further failure, and the longest wait. The first is
    /// at least 100 ms and at most the longest; the longest is at most the window of
    /// [`rolling`](Self::rolling). Default 1 s and 15 min.
    pub fn waits(mut self, first: Duration, longest: Duration) -> Self {
        self.waits = (first, longest);
        self
    }

    /// How many failures in a row lock a user name for a whole window of
    /// [`rolling`](Self::rolling), or until it is [reset](crate::PasswordGrant::reset_attempts). At
    /// most 100 (NIST SP 800-63B section 5.2.2). Default 100.
    pub fn consecutive(mut self, failures: u32) -> Self {
        self.consecutive = failures;
        self
    }

    /// How many failures a user name may have in a window, in a row or not. Above that, one attempt
    /// is admitted each time the longest wait has passed. The window is from a minute to 30 days.
    /// Default 200 in 24 h.
    pub fn rolling(mut self, failures: u32, window: Duration) -> Self {
        self.rolling = (failures, window);
        self
    }

    /// How many failures one address (IPv6: /64) may have on any user names. Failures are counted
    /// in the current window and the one before it; as long as there are so many, nothing is
    /// admitted from the address but attempts on names that have logged in from it. The window is
    /// from a minute to 30 days. Default 300 in 10 min.
    pub fn source(mut self, failures: u32, window: Duration) -> Self {
        self.source = (failures, window);
        self
    }

    /// How many failures one IPv6 network (/48) may have, counted as those of an
    /// [address](Self::source). The window is from a minute to 30 days. Default 3,000 in 10 min.
    pub fn network(mut self, failures: u32, window: Duration) -> Self {
        self.network = (failures, window);
        self
    }

    /// How many failed authentications one client may have from one address, counted in the current
    /// window and the one before it. As long as there are so many, the client is refused from
    /// there. From an IPv6 network (/48) ten times as many may fail; then the client is refused from every
    /// address of the network from which it has failed. The window is from a minute to 30 days.
    /// Default 20 in 10 min.
    pub fn client(mut self, failures: u32, window: Duration) -> Self {
        self.client = (failures, window);
        self
    }

    /// How long an origin stays known after a login from it through one client. Attempts from a
    /// known origin are counted apart, so that nobody elsewhere can lock out the owner there.
    /// Others at the same address can find out by guessing that somebody of that name has logged in
    /// from there. Zero turns known origins off. At most 400 days. Default 90 days.
    pub fn known_origins(mut self, span: Duration) -> Self {
        self.known_origins = span;
        self
    }

    /// How long a login may wait for other logins of the same user name that are being judged, and
    /// how long the [`StateStore`](crate::state::StateStore) may take for each transaction,
    /// including its repetitions after conflicts. A login has several transactions; the request as
    /// a whole has no limit. If the attempt limits are
    /// [off](crate::PasswordGrantBuilder::dangerous_without_attempt_limits), no login waits for
    /// others, and the store has 10 s. More than zero, at most a minute. Default 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The longest time that
    /// [`UserAuthenticator::authenticate`](crate::UserAuthenticator::authenticate) is expected to
    /// take. Other attempts do not wait longer for it. If it takes longer, the attempt stays
    /// counted in its window even if it succeeds. From a second to an hour. Default 60 s.
    pub fn attempt_timeout(mut self, span: Duration) -> Self {
        self.attempt_timeout = span;
        self
    }

    /// How many failures within ten minutes raise an [`Alarm`](crate::event::Alarm) for the
    /// observer: failures spread over as many user names, or as many wrong secrets of one client.
    /// Zero turns alarms off. Default 100.
    pub fn alarm(mut self, failures: u32) -> Self {
        self.alarm = failures;
        self
    }

    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold, as text.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let second = Duration::from_secs(1);
        let minute = 60 * second;
        let day = 24 * 60 * minute;
        let counted = [self.rolling, self.source, self.network, self.client];
        let (first, longest) = self.waits;
        let rules = [
            (self.consecutive <= 100, "a name must be locked after at most 100 failures in a row"),
            (
                0 < self.burst && self.burst <= self.consecutive,
                "burst must be between 1 and consecutive",
            ),
            (
                counted.iter().all(|(failures, _)| *failures > 0),
                "every limit must allow one failure",
            ),
            (
                counted.iter().all(|(_, window)| (minute..=30 * day).contains(window)),
                "windows must be between a minute and 30 days",
            ),
            (
                Duration::from_millis(100) <= first
                    && first <= longest
                    && longest <= self.rolling.1,
                "waits must be a tenth of a second or more, the first no longer than the \
                 longest, which fits the window",
            ),
            (
                self.known_origins <= Self::MAX_KNOWN_ORIGINS,
                "origins may be known for 400 days at most",
            ),
            (
                (second..=60 * minute).contains(&self.attempt_timeout),
                "an attempt may take between a second and an hour",
            ),
            (!self.timeout.is_zero() && self.timeout <= minute, "timeout must be a minute or less"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, problem)| Err(problem))
    }

    /// For user names, from known origins and from elsewhere.
    pub(super) fn account_rule(&self) -> Rule {
        let (first, longest) = self.waits;
        let (failures, window) = self.rolling;
        Rule {
            burst: self.burst,
            base: millis(first),
            cap: millis(longest),
            consecutive_limit: Some(self.consecutive),
            rolling_limit: failures,
            window: millis(window),
            attempt_timeout: millis(self.attempt_timeout),
        }
    }

    pub(super) fn source_rule(&self) -> WindowRule {
        WindowRule::new(self.source.0, self.source.1)
    }

    pub(super) fn network_rule(&self) -> WindowRule {
        WindowRule::new(self.network.0, self.network.1)
    }

    pub(super) fn client_rule(&self) -> WindowRule {
        WindowRule::new(self.client.0, self.client.1)
    }

    /// Ten times as many failures as one address may have.
    pub(super) fn client_network_rule(&self) -> WindowRule {
        WindowRule::new(self.client.0.saturating_mul(10), self.client.1)
    }

    pub(super) fn known_origin_ttl(&self) -> u64 {
        millis(self.known_origins)
    }

    pub(crate) fn max_timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn alarm_threshold(&self) -> u32 {
        self.alarm
    }
}
