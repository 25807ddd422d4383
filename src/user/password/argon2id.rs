//! Argon2id ([RFC 9106]): the cost parameters, the hashing of new passwords, and the verification
//! of stored hashes.
//!
//! [RFC 9106]: https://www.rfc-editor.org/rfc/rfc9106

use std::fmt;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::environment::{RandomnessError, SecureRandom, SystemRandom};
use crate::error::Overloaded;
use crate::http::form;
use crate::types::limits::RequestLimits;
use crate::user::password::memory::Memory;

/// The cost of an Argon2id hash ([RFC 9106]). The default is 19 MiB, two passes, one lane.
///
/// [RFC 9106]: https://www.rfc-editor.org/rfc/rfc9106
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Argon2Parameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes. They are computed one after another.
    pub lanes: u32,
}

impl Default for Argon2Parameters {
    fn default() -> Self {
        Self {
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            lanes: Params::DEFAULT_P_COST,
        }
    }
}

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The password is empty, longer than a login may send, or holds a control character that a
    /// login must not send (RFC 6749 appendix A.16). Nobody could ever log in with it.
    #[error("the password is empty, too long, or holds a control character")]
    Unusable,
    /// The parameters are outside what Argon2 allows.
    #[error("the Argon2 parameters are out of range")]
    Parameters,
    /// The random generator failed.
    #[error("the random generator failed")]
    Randomness,
    /// The hashing threads have more work than they can finish in time.
    #[error("password hashing is overloaded")]
    Overloaded,
}

impl From<RandomnessError> for HashError {
    fn from(_: RandomnessError) -> Self {
        Self::Randomness
    }
}

impl Argon2Parameters {
    const OUTPUT: usize = 32;

    /// The parameters from memory in KiB, passes over it, and lanes.
    #[must_use]
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Self {
        Self { memory_kib, passes, lanes }
    }

    /// Hashes a password for storage, as a PHC string with a random salt:
    /// `$argon2id$v=19$m=19456,t=2,p=1$…$…`.
    ///
    /// It blocks the calling thread (about 20 ms with the defaults, in an optimised build) and is
    /// meant for enrolment tools and seeding. In a server use
    /// [`HashedPasswords::hash`](crate::HashedPasswords::hash).
    ///
    /// ```
    /// use password_grant::password::Argon2Parameters;
    ///
    /// let stored = Argon2Parameters::default().hash("correct horse battery staple")?;
    /// assert!(stored.starts_with("$argon2id$"));
    /// # Ok::<(), password_grant::password::HashError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If no login could send the password (empty, over 1,024 bytes, control characters), if the
    /// parameters are out of range, or if the system's random generator fails.
    pub fn hash(&self, password: &str) -> Result<String, HashError> {
        check_new_password(password, RequestLimits::default().password)?;
        self.hash_in(&mut Memory::new(), password, &SystemRandom::new())
    }

    pub(crate) fn hash_in(
        &self,
        memory: &mut Memory,
        password: &str,
        randomness: &dyn SecureRandom,
    ) -> Result<String, HashError> {
        let mut salt = [0; 16];
        randomness.fill(&mut salt)?;
        let params = self.params().ok_or(HashError::Parameters)?;
        let mut output = Zeroizing::new([0; Self::OUTPUT]);
        compute(memory, Version::V0x13, &params, password, &salt, &mut *output)?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).map_err(|_| HashError::Parameters)?,
            salt: Some(Salt::new(&salt).map_err(|_| HashError::Parameters)?),
            hash: Some(Output::new(&*output).map_err(|_| HashError::Parameters)?),
        };
        Ok(hash.to_string())
    }

    /// Memory times passes: the cost of computing the hash.
    pub(crate) fn work(&self) -> u64 {
        work(self.memory_kib, self.passes)
    }

    fn params(&self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(Self::OUTPUT)).ok()
    }
}

/// Checks that a login could send this password.
pub(crate) fn check_new_password(password: &str, limit: usize) -> Result<(), HashError> {
    let usable =
        !password.is_empty() && password.len() <= limit && form::is_unicode_no_crlf(password);
    if usable { Ok(()) } else { Err(HashError::Unusable) }
}

/// The highest cost of a stored hash. A hash beyond it is refused before anything is allocated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceiling {
    pub(crate) memory_kib: u32,
    /// Memory times passes.
    pub(crate) work: u64,
    pub(crate) lanes: u32,
}

/// An Argon2id hash as stored, checked to be within the ceiling.
#[derive(Clone)]
pub(crate) struct StoredHash {
    version: Version,
    params: Params,
    salt: Salt,
    expected: Output,
}

impl StoredHash {
    /// Returns `None` for anything but an Argon2id hash within the ceiling.
    pub(crate) fn parse(phc: &str, ceiling: Ceiling) -> Option<Self> {
        let hash = PasswordHash::new(phc).ok()?;
        if hash.algorithm != Algorithm::Argon2id.ident() {
            return None;
        }
        let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let (salt, expected) = (hash.salt?, hash.hash?);
        let affordable = params.m_cost() <= ceiling.memory_kib
            && work(params.m_cost(), params.t_cost()) <= ceiling.work
            && params.p_cost() <= ceiling.lanes;
        affordable.then_some(Self { version, params, salt, expected })
    }

    /// Hashes the password in the thread's memory and compares the result in constant time. Fails
    /// with [`Overloaded`] if the memory cannot be allocated.
    pub(crate) fn verify(&self, memory: &mut Memory, password: &str) -> Result<bool, Overloaded> {
        let mut buffer = Zeroizing::new([0; Output::MAX_LENGTH]);
        let expected = self.expected.as_bytes();
        let Some(output) = buffer.get_mut(..expected.len()) else { return Ok(false) };
        match compute(memory, self.version, &self.params, password, &self.salt, output) {
            Ok(()) => Ok(output.ct_eq(expected).into()),
            Err(HashError::Overloaded) => Err(Overloaded::new()),
            Err(_) => Ok(false),
        }
    }

    pub(crate) fn cost(&self) -> Argon2Parameters {
        let Self { params, .. } = self;
        Argon2Parameters {
            memory_kib: params.m_cost(),
            passes: params.t_cost(),
            lanes: params.p_cost(),
        }
    }

    /// Whether this hash is cheaper to attack than one with `current`: it has less memory times
    /// passes, an older version, or a shorter output. Less memory with more passes, or the reverse,
    /// is not weaker if the product is not less.
    pub(crate) fn is_weaker_than(&self, current: Argon2Parameters) -> bool {
        self.version != Version::V0x13
            || self.cost().work() < current.work()
            || self.expected.as_bytes().len() < Argon2Parameters::OUTPUT
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHash").field("params", &self.params).finish_non_exhaustive()
    }
}

fn work(memory_kib: u32, passes: u32) -> u64 {
    u64::from(memory_kib) * u64::from(passes)
}

/// Computes one Argon2id hash.
fn compute(
    memory: &mut Memory,
    version: Version,
    params: &Params,
    password: &str,
    salt: &[u8],
    output: &mut [u8],
) -> Result<(), HashError> {
    let blocks = memory.blocks(params.block_count()).map_err(|Overloaded| HashError::Overloaded)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params.clone());
    let hashed = argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, blocks);
    hashed.map_err(|_| HashError::Parameters)
}
