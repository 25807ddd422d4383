//! The attempts that wait for open attempts on the same count to be settled, in the order in which
//! they came. Their number is bounded, so that nobody can fill the process with waiting requests.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::future::before;
use crate::limiter::account_row::ChargedTo;
use crate::state::StateKey;
use crate::time::{Clock, Timestamp};
use crate::types::address::{network, source};

/// The count that attempts wait for.
pub(super) type WaitedFor = (StateKey, ChargedTo);

/// Who waits: an address (IPv6: its /64) or everybody without one, and an IPv6 network (/48).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Party {
    Address(Option<[u8; 9]>),
    Network([u8; 6]),
}

/// The parties of a waiter, each with the most that wait of it.
fn parties(peer: Option<IpAddr>) -> impl Iterator<Item = (Party, usize)> {
    let address = (Party::Address(peer.map(source)), Waiters::EACH);
    let network = peer.and_then(network).map(Party::Network);
    std::iter::once(address).chain(network.map(|network| (network, Waiters::OF_NETWORK)))
}

/// The waiting attempts of this process.
#[derive(Default)]
pub(super) struct Waiters(Mutex<Queues>);

#[derive(Default)]
struct Queues {
    all: usize,
    parties: HashMap<Party, usize>,
    waiting: HashMap<WaitedFor, VecDeque<Waiter>>,
    next: u64,
}

struct Waiter {
    number: u64,
    peer: Option<IpAddr>,
    /// Something has changed since the waiter last looked: it may try again.
    called: bool,
    waker: Option<Waker>,
}

impl Waiters {
    /// The most that wait in all.
    const ALL: usize = 1024;
    /// The most that wait for one count, and the most that wait from one address.
    const EACH: usize = 64;
    /// The most that wait from one IPv6 network, which holds 65,536 addresses.
    const OF_NETWORK: usize = 256;

    /// Whether an attempt waits for this count. A newcomer must not overtake it.
    pub(super) fn any(&self, count: &WaitedFor) -> bool {
        self.queues().waiting.contains_key(count)
    }

    /// Joins the attempts that wait for this count, until the returned value is dropped. `None` if
    /// too many wait already.
    ///
    /// The first to join is called at once: the count may have changed since it was looked at.
    pub(super) fn join(&self, count: WaitedFor, peer: Option<IpAddr>) -> Option<Waiting<'_>> {
        let mut queues = self.queues();
        let is_full = |(party, most): (Party, usize)| {
            queues.parties.get(&party).is_some_and(|waiting| *waiting >= most)
        };
        let of_count = queues.waiting.get(&count).map_or(0, VecDeque::len);
        if queues.all >= Self::ALL || of_count >= Self::EACH || parties(peer).any(is_full) {
            return None;
        }
        let number = queues.next;
        queues.next += 1;
        queues.all += 1;
        for (party, _) in parties(peer) {
            *queues.parties.entry(party).or_default() += 1;
        }
        let waiter = Waiter { number, peer, called: of_count == 0, waker: None };
        queues.waiting.entry(count).or_default().push_back(waiter);
        Some(Waiting { waiters: self, count, number })
    }

    /// Calls the first attempt that waits for this count.
    pub(super) fn call(&self, count: &WaitedFor) {
        self.queues().call(count);
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn call(&mut self, count: &WaitedFor) {
        if let Some(first) = self.waiting.get_mut(count).and_then(VecDeque::front_mut) {
            first.called = true;
            if let Some(waker) = first.waker.take() {
                waker.wake();
            }
        }
    }

    fn leave(&mut self, count: &WaitedFor, number: u64) {
        let Some(queue) = self.waiting.get_mut(count) else { return };
        let Some(place) = queue.iter().position(|waiter| waiter.number == number) else { return };
        let left = queue.remove(place);
        if queue.is_empty() {
            self.waiting.remove(count);
        } else if place == 0 {
            // The next attempt may be admissible too, and a call that this one has not used must
            // not be lost.
            self.call(count);
        }
        self.all -= 1;
        for (party, _) in left.into_iter().flat_map(|waiter| parties(waiter.peer)) {
            match self.parties.get_mut(&party) {
                Some(several) if *several > 1 => *several -= 1,
                _ => drop(self.parties.remove(&party)),
            }
        }
    }
}

/// One waiting attempt.
pub(super) struct Waiting<'a> {
    waiters: &'a Waiters,
    count: WaitedFor,
    number: u64,
}

impl Waiting<'_> {
    /// Whether this attempt waits for this count.
    pub(super) fn is_for(&self, count: &WaitedFor) -> bool {
        self.count == *count
    }

    /// Waits until this attempt may try again, which is when it is the first and was called, or
    /// when `pause` has passed: another process, or the deadline of an attempt, calls nobody.
    /// Returns false if the deadline comes first.
    pub(super) async fn turn(
        &self,
        clock: &dyn Clock,
        pause: Duration,
        deadline: Timestamp,
    ) -> bool {
        loop {
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return false;
            }
            let is_first = self.is_first();
            let span = if is_first { pause.min(left) } else { left };
            if before(self.called(), clock.sleep(span)).await.is_some() || is_first && span < left {
                return true;
            }
        }
    }

    fn is_first(&self) -> bool {
        let queues = self.waiters.queues();
        let first = queues.waiting.get(&self.count).and_then(VecDeque::front);
        first.is_some_and(|first| first.number == self.number)
    }

    /// Completes once this attempt has been called, which uses up the call. Only the first is
    /// called.
    async fn called(&self) {
        std::future::poll_fn(|context| {
            let mut queues = self.waiters.queues();
            let Some(queue) = queues.waiting.get_mut(&self.count) else { return Poll::Ready(()) };
            let own = queue.iter_mut().find(|waiter| waiter.number == self.number);
            match own {
                Some(own) if !own.called => {
                    own.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                Some(own) => {
                    own.called = false;
                    Poll::Ready(())
                }
                None => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiters.queues().leave(&self.count, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;
    use crate::state::key::{Keys, Purpose};
    use crate::testing::ManualClock;

    fn keys() -> impl Fn(usize) -> WaitedFor {
        let keys = Keys::local(&crate::environment::SystemRandom::new()).unwrap();
        move |number| {
            let key = keys.key(Purpose::Account, &[&number.to_be_bytes()]);
            (key, ChargedTo::Account)
        }
    }

    fn address(number: usize) -> Option<IpAddr> {
        let number = u32::try_from(number).unwrap();
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn places_are_bounded_in_all_for_each_count_and_for_each_address_and_given_back() {
        let (count, waiters) = (keys(), Waiters::default());
        for _ in 0..2 {
            let join = |number: usize, peer: usize| waiters.join(count(number), address(peer));
            let each: Vec<_> = (0..Waiters::EACH).map(|peer| join(0, peer).unwrap()).collect();
            assert!(join(0, 9_000).is_none(), "too many for this count");
            let own: Vec<_> = (1..Waiters::EACH).map(|number| join(number, 0).unwrap()).collect();
            assert!(join(9_000, 0).is_none(), "too many from this address");
            let taken = each.len() + own.len();
            let others: Vec<_> =
                (taken..Waiters::ALL).map(|number| join(number, number).unwrap()).collect();
            assert!(join(5_000, 5_000).is_none(), "too many in all");
            drop((each, own, others));
        }
        let queues = waiters.queues();
        assert!(queues.waiting.is_empty() && queues.parties.is_empty() && queues.all == 0);
    }

    /// All waiting places are not one network's, however many addresses it has.
    #[test]
    fn one_network_takes_a_part_of_the_places() {
        let (count, waiters) = (keys(), Waiters::default());
        let at = |host: usize| format!("2001:db8:0:{host:x}::1").parse().ok();
        let join = |number: usize| waiters.join(count(number), at(number));
        let taken: Vec<_> = (0..500).map_while(join).collect();
        assert_eq!(taken.len(), Waiters::OF_NETWORK);
        assert!(waiters.join(count(0), "2001:db8:1::1".parse().ok()).is_some());
        drop(taken);
        assert!(waiters.queues().parties.is_empty());
    }

    /// The first is called, tries, and leaves; its leaving calls the next. A call while it tries is
    /// not lost, and one who goes away passes its call on.
    #[test]
    fn calls_go_to_the_first_in_the_order_of_arrival() {
        let (count, waiters) = (keys(), Waiters::default());
        let [first, second, third] =
            [1, 2, 3].map(|peer| waiters.join(count(0), address(peer)).unwrap());
        let is_called = |waiting: &Waiting<'_>| {
            pin!(waiting.called()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        assert!(is_called(&first), "the first is called when it joins");
        assert!(!is_called(&first) && !is_called(&second));
        waiters.call(&count(0));
        assert!(!is_called(&second) && is_called(&first));
        waiters.call(&count(1));
        assert!(!is_called(&first));
        waiters.call(&count(0));
        drop(first);
        assert!(is_called(&second) && !is_called(&third));
        drop(third);
        assert!(!is_called(&second));
        assert!(waiters.any(&count(0)) && !waiters.any(&count(1)));
        drop(second);
        assert!(!waiters.any(&count(0)));
    }

    #[test]
    fn whoever_waits_tries_again_after_the_pause_until_the_deadline() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let start = Timestamp::from_unix_seconds(1_800_000_000);
        let clock = ManualClock::at(start);
        let (count, waiters) = (keys(), Waiters::default());
        let [first, second] = [1, 2].map(|peer| waiters.join(count(0), address(peer)).unwrap());
        let deadline = start.plus(Duration::from_secs(2));
        let pause = Duration::from_secs(1);
        runtime.block_on(async {
            assert!(first.turn(&clock, pause, deadline).await, "called when it joined");
            let context = &mut Context::from_waker(Waker::noop());
            let mut first_turn = pin!(first.turn(&clock, pause, deadline));
            let mut second_turn = pin!(second.turn(&clock, pause, deadline));
            assert!(first_turn.as_mut().poll(context).is_pending());
            assert!(second_turn.as_mut().poll(context).is_pending());
            clock.advance(pause);
            assert_eq!(first_turn.as_mut().poll(context), Poll::Ready(true));
            assert!(second_turn.as_mut().poll(context).is_pending(), "only the first tries");
            clock.advance(pause);
            assert_eq!(second_turn.as_mut().poll(context), Poll::Ready(false));
            assert!(!first.turn(&clock, pause, deadline).await);
        });
    }
}
