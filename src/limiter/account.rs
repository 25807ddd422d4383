//! What attempts on an account are counted on: user names without the differences that look-ups
//! ignore.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use unicode_normalization::UnicodeNormalization;

use crate::error::BoxError;
use crate::time::BoxFuture;
use crate::types::context::RequestContext;

/// Maps the user names of one account to one name, for attempts to be counted on. Implement it if a
/// user can log in with several names.
///
/// Without it, the engine counts by the user name as it was typed, ignoring case, compatibility
/// forms (NFKC), nonspacing marks such as accents, characters that are not displayed
/// (`Default_Ignorable_Code_Point`) and the amount of white space. That is coarser than the
/// collations in common use, such as `und-u-ks-level2` of PostgreSQL, or `unicode_ci` and
/// `general_ci` of MySQL and MariaDB.
///
/// What is counted must be at least as coarse as your look-up: for every spelling by which
/// [`UserAuthenticator`](crate::UserAuthenticator) finds the same user, but which counts as another
/// name, an attacker gets one more full allowance. So implement this trait if an account has both an
/// e-mail address and a telephone number to log in with, or if your look-up ignores still more,
/// such as punctuation. Implement it too if so coarse a folding would take different users of yours
/// for one: they would share a limit.
///
/// ```
/// use password_grant::limiter::AccountNames;
/// use password_grant::{BoxError, RequestContext, async_trait};
/// # struct Db;
/// # impl Db {
/// #     async fn account_of(&self, _: &str) -> Result<Option<String>, BoxError> {
/// #         Ok(None)
/// #     }
/// # }
///
/// #[async_trait]
/// impl AccountNames for Db {
///     async fn account(&self, username: &str, _: &RequestContext) -> Result<String, BoxError> {
///         // Names that nobody has are counted like any other.
///         Ok(self.account_of(username).await?.unwrap_or_else(|| username.trim().to_lowercase()))
///     }
/// }
/// ```
#[async_trait]
pub trait AccountNames: Send + Sync + 'static {
    /// Returns one text for all names of one account. `username` is raw, as it was typed: 1 to 320
    /// bytes, without control characters other than TAB. The text need not name the tenant: the
    /// engine counts each tenant separately.
    ///
    /// This is called before the attempt is reserved, and so also for attempts that are then
    /// denied. It should be cheap, and take the same time for names that no account has.
    ///
    /// # Errors
    ///
    /// When the account cannot be determined now. The caller then gets 503, and no password is
    /// looked at.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any await.
    async fn account(&self, username: &str, context: &RequestContext) -> Result<String, BoxError>;
}

impl<T: AccountNames + ?Sized> AccountNames for Arc<T> {
    fn account<'a, 'b, 'c, 'd>(
        &'a self,
        username: &'b str,
        context: &'c RequestContext,
    ) -> BoxFuture<'d, Result<String, BoxError>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        (**self).account(username, context)
    }
}

/// The user name without what look-ups commonly ignore: case, compatibility forms (NFKC), accents
/// and other nonspacing marks, characters that are not displayed, white space around it and the
/// amount of white space within it.
pub(super) fn folded(username: &str) -> Cow<'_, str> {
    let is_folded = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    if username.bytes().all(is_folded) {
        return Cow::Borrowed(username);
    }
    if username.is_ascii() {
        return Cow::Owned(words(&username.to_ascii_lowercase()));
    }
    Cow::Owned(folded_twice(username, |c| !is_ignored(c), without_stroke))
}

/// The user name without case and compatibility forms only. A place where somebody has logged in is
/// known for the names that differ in nothing else: a host may tell `jose` and `josé` apart, and
/// the one must not guess at the other from places of their own.
pub(super) fn folded_for_origins(username: &str) -> Cow<'_, str> {
    if username.is_ascii() {
        return folded(username);
    }
    Cow::Owned(folded_twice(username, |_| true, |c| c))
}

/// Both case mappings are applied, since some letters are equal under only one of them (ß and ẞ, ı
/// and I, ς and Σ). Decomposition may produce letters that have a case, and case mapping may
/// produce text that is not decomposed, so all of it is done twice.
fn folded_twice(text: &str, keep: impl Fn(char) -> bool, map: impl Fn(char) -> char) -> String {
    let once = |text: &str| -> String {
        let cased = text.nfkd().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        cased.nfkd().filter(|c| keep(*c)).map(&map).collect()
    };
    words(&once(&once(text)))
}

/// Whether look-ups commonly take a text with this character, and the text without it, for one: the
/// nonspacing and enclosing marks, and the code points that have the property
/// `Default_Ignorable_Code_Point` of Unicode.
fn is_ignored(c: char) -> bool {
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
    let is_mark = || {
        let category = c.general_category();
        matches!(category, GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
    };
    !c.is_ascii()
        && (DEFAULT_IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
            || is_mark())
}

/// The ranges of `Default_Ignorable_Code_Point`. It is a stable property: new characters are
/// assigned within these ranges.
const DEFAULT_IGNORABLE: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// The letter without the stroke through it, which collations take for an accent although it does
/// not decompose.
fn without_stroke(c: char) -> char {
    match c {
        'ø' => 'o',
        'đ' => 'd',
        'ħ' => 'h',
        'ł' => 'l',
        'ŧ' => 't',
        _ => c,
    }
}

/// The words of a text, with one space between them and none around them.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_look_ups_commonly_take_for_one_are_one() {
        for (left, right) in [
            ("alice", "Alice"),
            ("alice", "  ALICE\t"),
            ("alice smith", "alice   smith"),
            ("alice smith", "alice\u{a0}smith"),
            ("zoë", "ZOE\u{308}"),
            ("zoë", "zoe\u{308}"),
            ("straße", "STRASSE"),
            ("straße", "STRA\u{1e9e}E"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("alice", "ａｌｉｃｅ"),
            ("office", "oﬃce"),
            ("kelvin", "\u{212a}elvin"),
            ("istanbul", "ıstanbul"),
            ("\u{130}stanbul", "i\u{307}stanbul"),
            ("zoë", "zoe"),
            ("alice", "ali\u{200d}ce"),
            ("alice", "\u{feff}alice"),
            ("alice", "al\u{ad}ice"),
            ("alice", "a\u{336}lice"),
            ("søren", "SOREN"),
            ("łukasz", "lukasz"),
        ] {
            assert_eq!(folded(left), folded(right), "{left} {right}");
        }
        assert_ne!(folded("alice"), folded("bob"));
        assert_ne!(folded("alicesmith"), folded("alice smith"));
    }

    #[test]
    fn a_mark_or_a_character_that_is_not_displayed_makes_no_other_name() {
        use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
        let ignored = |c: &char| {
            c.general_category() == GeneralCategory::NonspacingMark
                || DEFAULT_IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(c))
        };
        // The Greek iota below a letter is a mark that both case mapping and collations take for
        // the letter iota.
        let iota_below = '\u{345}';
        let mut several = 0;
        for c in ('\u{80}'..=char::MAX).filter(ignored).filter(|c| *c != iota_below) {
            several += 1;
            for name in [format!("al{c}ice"), format!("{c}alice"), format!("alice{c}{c}")] {
                assert_eq!(folded(&name), "alice", "{c:?}");
            }
        }
        assert!(several > 5_000, "{several}");
    }

    /// The folding is at least as coarse as a look-up that maps to lower case, maps to upper case,
    /// or normalizes.
    #[test]
    fn every_character_is_the_same_name_in_either_case_and_every_form() {
        let differs = |c: &char| {
            !c.to_lowercase().eq([*c]) || !c.to_uppercase().eq([*c]) || !c.nfkd().eq([*c])
        };
        for c in ('\u{80}'..=char::MAX).filter(differs).filter(|c| !c.is_whitespace()) {
            let name = format!("a{c}b");
            let expected = folded(&name).into_owned();
            assert_eq!(folded(&name.to_lowercase()), expected, "{c:?}");
            assert_eq!(folded(&name.to_uppercase()), expected, "{c:?}");
            assert_eq!(folded(&name.nfd().collect::<String>()), expected, "{c:?}");
            assert_eq!(folded(&name.nfkd().collect::<String>()), expected, "{c:?}");
            assert_eq!(folded(&expected), expected, "{c:?}");
        }
    }
}
