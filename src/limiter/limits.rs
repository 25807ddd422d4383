use std::time::Duration;

use crate::limiter::reservation::Rule;

/// How many attempts there are before somebody has to wait. On by default, with these numbers:
///
/// | who is counted | failures | then |
/// | --- | --- | --- |
/// | a user name | 10 in a row | one attempt a second, then every 2, 4, … seconds, up to 15 minutes |
/// | | 100 in a row | none for 24 hours |
/// | | 200 in 24 hours | one attempt every 15 minutes |
/// | the name, through one client, from where its owner has logged in before | the same, counted apart | the same |
/// | an address (IPv6: /64) | 300 in 10 minutes | one attempt a minute |
/// | an IPv6 network (/48) | 3,000 in 10 minutes | one attempt a second |
/// | a client's failed authentications from an address | 20 in 10 minutes | one a minute |
///
/// Whoever has to wait gets 429 `temporarily_unavailable` with `Retry-After`, and no look-up and no hash is spent on it;
/// the right password is then refused as the wrong one is. A login that succeeds clears what was counted in a row
/// against its name, and never what was counted against its address.
///
/// Addresses are counted only if the host gives them ([`HttpRequest::peer`](crate::HttpRequest::peer)): the caller's own,
/// not that of a proxy before you, or all callers are one.
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

impl AttemptLimits {
    /// Failures in a row before a name has to wait. So many logins of one name can be judged at once; more wait for
    /// each other. From 1 to [`consecutive`](Self::consecutive). Default 10.
    pub fn burst(mut self, failures: u32) -> Self {
        self.burst = failures;
        self
    }

    /// The first wait, which doubles with each further failure, and the longest one. Default 1 s and 15 min.
    pub fn waits(mut self, first: Duration, longest: Duration) -> Self {
        self.waits = (first, longest);
        self
    }

    /// Failures in a row before a name is locked for a whole window, or until it is
    /// [reset](crate::PasswordGrant::reset_attempts). At most 100 (NIST SP 800-63B section 5.2.2). Default 100.
    pub fn consecutive(mut self, failures: u32) -> Self {
        self.consecutive = failures;
        self
    }

    /// Failures of a name in a window, in a row or not, before there is only one attempt each longest wait. From a
    /// minute to 30 days. Default 200 in 24 h.
    pub fn rolling(mut self, failures: u32, window: Duration) -> Self {
        self.rolling = (failures, window);
        self
    }

    /// Failures from one address in a window of a minute to 30 days, on whatever names; then one attempt a minute. Default
    /// 300 in 10 min.
    pub fn source(mut self, failures: u32, window: Duration) -> Self {
        self.source = (failures, window);
        self
    }

    /// Failures from one IPv6 network (/48) in a window of a minute to 30 days; then one attempt a second. Default 3,000 in
    /// 10 min.
    pub fn network(mut self, failures: u32, window: Duration) -> Self {
        self.network = (failures, window);
        self
    }

    /// Failed authentications of one client from one address in a window of a minute to 30 days; then one a minute. Default
    /// 20 in 10 min.
    pub fn client(mut self, failures: u32, window: Duration) -> Self {
        self.client = (failures, window);
        self
    }

    /// For how long it is remembered from where, and through which client, somebody has logged in. From there the name
    /// is counted apart, so nobody elsewhere can lock its owner out. Zero remembers nothing. At most 400 days. Default 90
    /// days.
    pub fn known_origins(mut self, span: Duration) -> Self {
        self.known_origins = span;
        self
    }

    /// How long a login may wait for other logins of the same name that are being judged, and how long the
    /// [`StateStore`](crate::state::StateStore) may take. More than nothing, at most a minute. Default 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long [`UserAuthenticator::authenticate`](crate::UserAuthenticator::authenticate) takes at the very most. What
    /// takes longer is not waited for, and takes less back when it is done. From a second to an hour. Default 60 s.
    pub fn attempt_timeout(mut self, span: Duration) -> Self {
        self.attempt_timeout = span;
        self
    }

    /// From how many failures within ten minutes the observer is told that guesses are spread: over so many names, or
    /// so many wrong secrets of one client. Default 100.
    pub fn alarm(mut self, failures: u32) -> Self {
        self.alarm = failures;
        self
    }

    /// What is wrong with the numbers.
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
                "waits must be a tenth of a second or more, the first no longer than the longest, which fits the window",
            ),
            (self.known_origins <= 400 * day, "origins may be known for 400 days at most"),
            (
                (second..=60 * minute).contains(&self.attempt_timeout),
                "an attempt may take between a second and an hour",
            ),
            (!self.timeout.is_zero() && self.timeout <= minute, "timeout must be a minute or less"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, problem)| Err(problem))
    }

    /// For names, from wherever they are counted.
    pub(crate) fn account_rule(&self) -> Rule {
        let (first, longest) = self.waits;
        Rule {
            burst: self.burst,
            base: millis(first),
            cap: millis(longest),
            consecutive_limit: Some(self.consecutive),
            ..self.rule(self.rolling, longest)
        }
    }

    pub(crate) fn source_rule(&self) -> Rule {
        self.rule(self.source, Duration::from_secs(60))
    }

    pub(crate) fn network_rule(&self) -> Rule {
        self.rule(self.network, Duration::from_secs(1))
    }

    pub(crate) fn client_rule(&self) -> Rule {
        self.rule(self.client, Duration::from_secs(60))
    }

    /// So many in a window, then one each `then`.
    fn rule(&self, (failures, window): (u32, Duration), then: Duration) -> Rule {
        Rule {
            burst: u32::MAX,
            base: 0,
            cap: millis(then),
            consecutive_limit: None,
            rolling_limit: failures,
            window: millis(window),
            attempt_timeout: millis(self.attempt_timeout),
        }
    }

    pub(crate) fn origin_memory(&self) -> u64 {
        millis(self.known_origins)
    }

    pub(crate) fn max_timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn alarm_threshold(&self) -> u32 {
        self.alarm
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
