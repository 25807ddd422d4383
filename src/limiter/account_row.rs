//! The row of an account: the count of attempts on its name, and the known origins, each with a
//! count of its own. Everything that an attempt reserves stands in this one row.

use crate::limiter::bucket::Bucket;
use crate::limiter::rule::Rule;
use crate::session::epoch::SubjectDigest;
use crate::state::codec::{Reader, Stored, write_number};
use crate::state::{KEPT, KNOWN};

/// A digest of the client and the place through which a user has logged in: the device that the
/// host has verified, or the address. Nobody can find another place with the same digest: the
/// digest is keyed, and each try would cost an attempt.
pub(super) type OriginDigest = [u8; 8];

/// Which count of an account's row an attempt is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ChargedTo {
    /// The count for all places that are no known origin.
    Account,
    /// The count of one known origin.
    Origin(OriginDigest),
}

/// The row of an account. A count that holds nothing is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AccountRow {
    bucket: Option<Bucket>,
    /// The known origins, the one that was used longest ago first.
    origins: Vec<Origin>,
}

/// A place from where the user has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) digest: OriginDigest,
    /// The user who has logged in from there.
    pub(super) subject: SubjectDigest,
    /// The number of the last log-out everywhere, of any subject, when that login began. A later
    /// log-out of the user ends the origin.
    pub(super) login_epoch: u64,
    /// When it stops being known, in milliseconds since 1970.
    pub(super) known_until: u64,
    bucket: Option<Bucket>,
}

impl Origin {
    pub(super) fn new(
        digest: OriginDigest,
        subject: SubjectDigest,
        login_epoch: u64,
        known_until: u64,
    ) -> Self {
        Self { digest, subject, login_epoch, known_until, bucket: None }
    }
}

impl AccountRow {
    /// The most known origins of an account.
    pub(super) const ORIGINS: usize = 20;

    /// The first of these origins that is known.
    pub(super) fn known(&self, digests: &[Option<OriginDigest>], now: u64) -> Option<&Origin> {
        digests
            .iter()
            .flatten()
            .find_map(|digest| self.origin(digest).filter(|own| now < own.known_until))
    }

    fn origin(&self, digest: &OriginDigest) -> Option<&Origin> {
        self.origins.iter().find(|origin| origin.digest == *digest)
    }

    /// Removes a count, to be changed and [set](Self::set_bucket) again.
    pub(super) fn take_bucket(&mut self, charged: ChargedTo) -> Option<Bucket> {
        self.slot(charged)?.take()
    }

    /// Sets a count. Has no effect for an origin that is not in the row.
    pub(super) fn set_bucket(&mut self, charged: ChargedTo, bucket: Bucket) {
        if let Some(slot) = self.slot(charged) {
            *slot = Some(bucket);
        }
    }

    fn slot(&mut self, charged: ChargedTo) -> Option<&mut Option<Bucket>> {
        match charged {
            ChargedTo::Account => Some(&mut self.bucket),
            ChargedTo::Origin(digest) => {
                let origin = self.origins.iter_mut().find(|origin| origin.digest == digest);
                origin.map(|origin| &mut origin.bucket)
            }
        }
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.origins.iter().map(|origin| &origin.bucket).chain([&self.bucket]).flatten()
    }

    fn buckets_mut(&mut self) -> impl Iterator<Item = &mut Bucket> {
        let origins = self.origins.iter_mut().map(|origin| &mut origin.bucket);
        origins.chain([&mut self.bucket]).flatten()
    }

    /// Makes an origin known, or known for longer. If there are too many, the one that was used
    /// longest ago is forgotten. Returns whether the origin is new.
    pub(super) fn remember(&mut self, mut origin: Origin, now: u64) -> bool {
        let known = self.origins.iter().position(|own| own.digest == origin.digest);
        let former = known.map(|index| self.origins.remove(index));
        let is_new = former.as_ref().is_none_or(|former| former.known_until <= now);
        if let Some(former) = former {
            // A login that began before the user's last login from there may end after it.
            if former.subject == origin.subject {
                origin.login_epoch = origin.login_epoch.max(former.login_epoch);
            }
            origin.bucket = former.bucket;
        }
        self.origins.push(origin);
        if self.origins.len() > Self::ORIGINS {
            self.forget_oldest();
        }
        is_new
    }

    /// Forgets the origin that was used longest ago, of the user who has the most. Two users whose
    /// names are counted as one share the row, and neither can make the other's origins unknown.
    fn forget_oldest(&mut self) {
        let of_user = |subject| self.origins.iter().filter(|own| own.subject == subject).count();
        let counts: Vec<usize> = self.origins.iter().map(|own| of_user(own.subject)).collect();
        let most = counts.iter().max().copied().unwrap_or(0);
        if let Some(index) = counts.iter().position(|count| *count == most) {
            self.origins.remove(index);
        }
    }

    /// Removes a count. A known origin is forgotten with its count.
    pub(super) fn reset(&mut self, charged: ChargedTo) {
        match charged {
            ChargedTo::Account => self.bucket = None,
            ChargedTo::Origin(digest) => self.origins.retain(|origin| origin.digest != digest),
        }
    }

    /// Removes what no longer holds anything. Returns how long the row still differs from an absent
    /// one, in milliseconds; `None` if it does not.
    pub(super) fn tidy(&mut self, rule: &Rule, now: u64) -> Option<u64> {
        let mut longest = None;
        let mut keep = |own: &mut Option<Bucket>| {
            let ttl = own.as_mut().and_then(|bucket| {
                let _ = bucket.catch_up(rule, now);
                bucket.ttl(rule, now)
            });
            if ttl.is_none() {
                *own = None;
            }
            longest = longest.max(ttl);
        };
        keep(&mut self.bucket);
        self.origins.retain_mut(|origin| {
            keep(&mut origin.bucket);
            now < origin.known_until
        });
        self.bound_open();
        let known = self.origins.iter().map(|origin| origin.known_until.saturating_sub(now)).max();
        longest.max(known)
    }

    /// Closes the oldest open attempts of the counts that have the most, since every store has to
    /// take the row, however many origins have open attempts.
    fn bound_open(&mut self) {
        let open: usize = self.buckets().map(Bucket::open_attempts).sum();
        for _ in Bucket::OPEN..open {
            let fullest = self.buckets_mut().max_by_key(|bucket| bucket.open_attempts());
            fullest.into_iter().for_each(Bucket::close_oldest);
        }
    }

    /// How much is lost if the row is removed: the failures that it counts. A row that makes
    /// somebody wait is kept, whatever the burst is. Others with known origins are told from those
    /// without, which anybody can cause.
    pub(super) fn weight(&self, rule: &Rule) -> u8 {
        let failures = |bucket: &Bucket| bucket.failures(rule).max(bucket.in_window());
        let most = self.buckets().map(failures).max().unwrap_or(0);
        let weight = u8::try_from(most).unwrap_or(u8::MAX);
        match (most < rule.burst, self.origins.is_empty()) {
            (false, _) => weight.clamp(KEPT, KNOWN - 1),
            (true, true) => weight.min(KEPT - 1),
            (true, false) => KNOWN + weight.min(KEPT - 1),
        }
    }
}

/// The count is written first, then the origins. A count is preceded by 1, an absent one is 0.
impl Stored for AccountRow {
    const NAME: &'static str = "an attempt count";
    const FORM: u8 = 2;

    fn size_hint(&self) -> usize {
        8 + 32 * self.origins.len() + self.buckets().map(Bucket::size_hint).sum::<usize>()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        write_bucket(bytes, self.bucket.as_ref());
        write_number(bytes, self.origins.len() as u64);
        for origin in &self.origins {
            bytes.extend(origin.digest);
            bytes.extend(origin.subject.as_bytes());
            write_number(bytes, origin.login_epoch);
            write_number(bytes, origin.known_until);
            write_bucket(bytes, origin.bucket.as_ref());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let bucket = read_bucket(reader)?;
        let several = reader.number()?;
        let mut origin = || {
            Some(Origin {
                digest: reader.array()?,
                subject: SubjectDigest::from_bytes(reader.array()?),
                login_epoch: reader.number()?,
                known_until: reader.number()?,
                bucket: read_bucket(reader)?,
            })
        };
        let origins = (0..several).map(|_| origin()).collect::<Option<_>>()?;
        Some(Self { bucket, origins })
    }

    /// In the first form the row was the count alone, and each origin had a row of its own.
    fn decode_form(form: u8, reader: &mut Reader<'_>) -> Option<Self> {
        match form {
            1 => {
                let bucket = Bucket::decode_first_form(reader).map(Some)?;
                Some(Self { bucket, origins: Vec::new() })
            }
            2 => Self::decode(reader),
            _ => None,
        }
    }
}

fn write_bucket(bytes: &mut Vec<u8>, bucket: Option<&Bucket>) {
    bytes.push(bucket.is_some().into());
    if let Some(bucket) = bucket {
        bucket.encode(bytes);
    }
}

fn read_bucket(reader: &mut Reader<'_>) -> Option<Option<Bucket>> {
    match reader.array()? {
        [0] => Some(None),
        [1] => Bucket::decode(reader).map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::limiter::bucket::tests::{buckets, full_bucket};
    use crate::limiter::failures::FailureWindows;
    use crate::limiter::rule::AttemptOutcome;
    use crate::state::codec::{UnreadableRow, from_bytes, to_bytes};
    use crate::state::test_support::hex;

    const UNREADABLE: Result<AccountRow, UnreadableRow> = Err(UnreadableRow(AccountRow::NAME));

    fn origin(number: u8, known_until: u64) -> Origin {
        let subject = SubjectDigest::from_bytes([0x5a; 8]);
        Origin::new([number; 8], subject, 1_800_000_000_001, known_until)
    }

    fn rows() -> impl Strategy<Value = AccountRow> {
        let bucket = || prop::option::of(buckets());
        let origins = (any::<[u8; 8]>(), any::<[u8; 8]>(), any::<u64>(), any::<u64>(), bucket());
        let origins = origins.prop_map(|(digest, subject, login_epoch, known_until, bucket)| {
            let subject = SubjectDigest::from_bytes(subject);
            Origin { bucket, ..Origin::new(digest, subject, login_epoch, known_until) }
        });
        (bucket(), vec(origins, 0..4)).prop_map(|(bucket, origins)| AccountRow { bucket, origins })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(row in rows()) {
            prop_assert_eq!(from_bytes(&to_bytes(&row)), Ok(row));
        }

        #[test]
        fn a_row_that_was_cut_or_prolonged_is_not_readable(
            row in rows(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = to_bytes(&row);
            prop_assert_eq!(from_bytes(&bytes[..cut.index(bytes.len())]), UNREADABLE);
            bytes.push(0);
            prop_assert_eq!(from_bytes(&bytes), UNREADABLE);
        }
    }

    /// Each row has exactly one encoding: bytes that can be decoded encode to the same bytes.
    #[test]
    fn a_row_with_another_byte_is_another_row_or_none() {
        let rule =
            Rule { consecutive_limit: Some(9), ..crate::AttemptLimits::default().account_rule() };
        let mut bucket = Bucket::new(7, 1_000);
        for now in [1_000, 1_000_000] {
            let reserved = bucket.charge(&rule, now);
            bucket.settle(reserved, AttemptOutcome::Failure, &rule);
            bucket.charge(&rule, now);
        }
        let mut row = AccountRow { bucket: Some(bucket.clone()), origins: Vec::new() };
        row.remember(origin(3, 9_999), 0);
        row.remember(Origin { bucket: Some(bucket), ..origin(4, 10_000) }, 0);
        let bytes = to_bytes(&row);
        let mut readable = 0;
        for index in 1..bytes.len() {
            for byte in 0..=u8::MAX {
                let mut other = bytes.clone();
                other[index] = byte;
                if let Ok(row) = from_bytes::<AccountRow>(&other) {
                    assert_eq!(to_bytes(&row), other);
                    readable += 1;
                }
            }
        }
        assert!((3_000..256 * bytes.len()).contains(&readable), "{readable}");
    }

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        let mut row = AccountRow::default();
        assert_eq!(hex(&row), "020000");
        row.remember(origin(0x11, 1_807_776_000_000), 0);
        assert_eq!(hex(&row), "02000111111111111111115a5a5a5a5a5a5a5a81a0f1c2b13480d0e2bece3400");
        row.set_bucket(ChargedTo::Account, full_bucket());
        row.set_bucket(ChargedTo::Origin([0x11; 8]), full_bucket());
        let bucket = "01efcdab8967452301ac020380a0f1c2b13407c801d2a9f1c2b134e9a7f1c2b1340301049d02\
                      02a202e0f4f4c2b1340209c8fcf4c2b13403";
        assert_eq!(
            hex(&row),
            format!("02{bucket}0111111111111111115a5a5a5a5a5a5a5a81a0f1c2b13480d0e2bece34{bucket}")
        );
    }

    /// The first form is still read: attempts go on being counted, and origins are forgotten.
    #[test]
    fn a_row_of_the_first_form_is_read_as_a_count() {
        let first = "01efcdab8967452301ac020380a0f1c2b13407c801d2a9f1c2b134e9a7f1c2b13480d0e2bece34\
                     0301049d0202a202e0f4f4c2b1340209c8fcf4c2b13403";
        let bytes: Vec<u8> = (0..first.len() / 2)
            .map(|index| u8::from_str_radix(&first[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        let row = AccountRow { bucket: Some(full_bucket()), origins: Vec::new() };
        assert_eq!(from_bytes(&bytes), Ok(row));
        assert_eq!(
            from_bytes(&bytes),
            Ok(FailureWindows::since(1_800_000_000_000, 7, 200)),
            "the row of an address"
        );
    }

    #[test]
    fn the_origin_that_was_used_longest_ago_goes() {
        let mut row = AccountRow::default();
        for number in 0..20 {
            assert!(row.remember(origin(number, 1_000), 0));
        }
        assert!(!row.remember(origin(0, 2_000), 0), "known already, and the last one used now");
        assert!(row.remember(origin(20, 2_000), 0));
        let known = |number: u8| row.known(&[Some([number; 8])], 0).is_some();
        assert_eq!((known(0), known(1), known(2), known(20)), (true, false, true, true));
        assert_eq!(row.origins.len(), AccountRow::ORIGINS);
        assert!(row.known(&[Some([2; 8])], 999).is_some());
        assert!(row.known(&[Some([2; 8])], 1_000).is_none());
        assert!(row.remember(origin(2, 2_000), 1_000), "it was no longer known");
    }

    /// However many attempts are open from however many origins, every store takes the row.
    #[test]
    fn a_row_of_full_counts_is_not_too_long_for_a_store() {
        let rule = crate::AttemptLimits::default().account_rule();
        let now = 1_800_000_000_000;
        let mut row = AccountRow::default();
        let full = || {
            let mut bucket = Bucket::new(u64::MAX, now);
            for _ in 0..60 {
                (0..9).for_each(|_| _ = bucket.charge(&rule, now));
                let right = bucket.charge(&rule, now);
                bucket.settle(right, AttemptOutcome::Success, &rule);
            }
            (0..99).for_each(|_| _ = bucket.charge(&rule, now));
            bucket
        };
        for number in 0..20 {
            row.remember(origin(number, u64::MAX), now);
            row.set_bucket(ChargedTo::Origin([number; 8]), full());
        }
        row.set_bucket(ChargedTo::Account, full());
        assert!(to_bytes(&row).len() > 16 * 1024, "it would be too long");
        row.tidy(&rule, now);
        assert!(to_bytes(&row).len() < 14 * 1024, "{}", to_bytes(&row).len());
        // Once they are overdue, none of them takes room, whichever count is charged.
        row.tidy(&rule, now + rule.attempt_timeout);
        assert!(to_bytes(&row).len() < 6 * 1024, "{}", to_bytes(&row).len());
    }

    /// Two users whose names are counted as one: the one who has more origins loses one.
    #[test]
    fn nobody_makes_the_origins_of_another_user_unknown() {
        let mut row = AccountRow::default();
        row.remember(origin(1, 1_000), 0);
        let other = SubjectDigest::from_bytes([9; 8]);
        for number in 2..60 {
            row.remember(Origin { subject: other, ..origin(number, 1_000) }, 0);
        }
        assert_eq!(row.origins.len(), AccountRow::ORIGINS);
        assert!(row.known(&[Some([1; 8])], 0).is_some());
    }

    /// A login that began before a log-out and ends after the user's next login from there.
    #[test]
    fn an_origin_is_never_older_than_the_last_login_of_its_user() {
        let mut row = AccountRow::default();
        row.remember(Origin { login_epoch: 7, ..origin(1, 1_000) }, 0);
        row.remember(Origin { login_epoch: 6, ..origin(1, 1_000) }, 0);
        assert_eq!(row.known(&[Some([1; 8])], 0).unwrap().login_epoch, 7);
        let other = SubjectDigest::from_bytes([9; 8]);
        row.remember(Origin { login_epoch: 6, subject: other, ..origin(1, 1_000) }, 0);
        assert_eq!(row.known(&[Some([1; 8])], 0).unwrap().login_epoch, 6, "another user's");
    }

    #[test]
    fn what_holds_nothing_goes_and_a_name_with_origins_is_told_from_one_without() {
        let rule = crate::AttemptLimits::default().account_rule();
        let now = 1_800_000_000_000;
        let mut row = AccountRow::default();
        row.set_bucket(ChargedTo::Account, Bucket::new(1, now));
        assert_eq!(row.tidy(&rule, now), None);
        assert_eq!(row, AccountRow::default());
        row.remember(origin(1, now + 500), now);
        assert_eq!((row.tidy(&rule, now), row.weight(&rule)), (Some(500), KNOWN));
        let mut bucket = Bucket::new(1, now);
        let _ = (bucket.charge(&rule, now), bucket.charge(&rule, now));
        row.set_bucket(ChargedTo::Origin([1; 8]), bucket);
        assert_eq!((row.tidy(&rule, now), row.weight(&rule)), (Some(2 * rule.window), KNOWN + 2));
        let strict = Rule { burst: 2, ..rule.clone() };
        assert_eq!(row.weight(&strict), KEPT, "from now on it makes somebody wait");
        let lenient = Rule { burst: 50, ..rule.clone() };
        let mut many = Bucket::new(1, now);
        (0..49).for_each(|_| _ = many.charge(&lenient, now));
        let many = AccountRow { bucket: Some(many), origins: Vec::new() };
        assert_eq!(many.weight(&lenient), KEPT - 1, "not yet");
        assert_eq!(row.tidy(&rule, now + 500), Some(2 * rule.window - 500));
        assert!(row.origins.is_empty(), "an origin goes with its count");
        assert_eq!(row.tidy(&rule, now + 500), None);
    }
}
