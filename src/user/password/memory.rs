//! The memory that one thread hashes in, and its wiping.

use argon2::Block;
use zeroize::Zeroize;

use crate::error::Overloaded;

/// The blocks that one thread hashes in. They are kept from one hash to the next, and wiped as soon
/// as no hash waits, and when they are dropped.
///
/// The blocks of a finished hash let anybody test guesses at its password as if it were a fast
/// digest. With one pass, the first two blocks are Blake2b digests of the password, and the others
/// are computed from them. Further passes do not hide them: in version 1.3 a pass is XORed onto the
/// one before, so it can be undone. From a hash with the default parameters whose first two blocks
/// were wiped, 19,446 of the 19,456 blocks of the first pass were computed in a trial, and testing
/// a guess then takes a few blocks. The cost of a guess grows only with the part of the memory that
/// is wiped, so all of it is.
///
/// Wiping takes 1.0 ms for the default 19 MiB, which is 6 % of a hash, and up to 13 % of one with a
/// single pass. A thread therefore wipes only when it would otherwise wait: the login has been
/// answered by then. While there is more to hash, the next hash overwrites the memory, and wiping
/// costs nothing.
pub(crate) struct Memory {
    blocks: Vec<Block>,
    /// How many of the blocks may hold what a hash has left.
    used: usize,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), used: 0 }
    }

    /// As many blocks as one hash needs. What an earlier hash has left in the others is wiped.
    ///
    /// # Errors
    ///
    /// If the memory cannot be allocated.
    pub(super) fn blocks(&mut self, count: usize) -> Result<&mut [Block], Overloaded> {
        if self.blocks.len() < count {
            // The budget counts every byte, so the old memory is freed first and nothing is
            // allocated in reserve.
            *self = Self::new();
            self.blocks.try_reserve_exact(count).map_err(|_| Overloaded)?;
            self.blocks.resize(count, Block::default());
        }
        self.wipe_from(count);
        self.used = count;
        self.blocks.get_mut(..count).ok_or(Overloaded)
    }

    /// Whether a hash may have left something to wipe.
    pub(super) fn is_used(&self) -> bool {
        self.used > 0
    }

    pub(super) fn wipe(&mut self) {
        self.wipe_from(0);
    }

    fn wipe_from(&mut self, first: usize) {
        self.blocks.iter_mut().take(self.used).skip(first).for_each(Zeroize::zeroize);
        self.used = self.used.min(first);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
impl Memory {
    /// The number of blocks in which a byte is not zero.
    pub(super) fn dirty_blocks(&self) -> usize {
        let is_dirty = |block: &&Block| block.as_ref().iter().any(|word| *word != 0);
        self.blocks.iter().filter(is_dirty).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(memory: &mut Memory, count: usize) {
        memory.blocks(count).unwrap().iter_mut().for_each(|block| block.as_mut().fill(7));
    }

    #[test]
    fn wiping_leaves_nothing_of_a_hash() {
        let mut memory = Memory::new();
        fill(&mut memory, 8);
        assert!(memory.is_used());
        assert_eq!(memory.dirty_blocks(), 8);
        memory.wipe();
        assert!(!memory.is_used());
        assert_eq!(memory.dirty_blocks(), 0);
    }

    #[test]
    fn a_smaller_hash_leaves_nothing_of_a_larger_one() {
        let mut memory = Memory::new();
        fill(&mut memory, 8);
        fill(&mut memory, 3);
        assert_eq!(memory.dirty_blocks(), 3);
        memory.wipe();
        assert_eq!(memory.dirty_blocks(), 0);
        fill(&mut memory, 9);
        assert_eq!(memory.dirty_blocks(), 9);
    }
}
