//! Turns, with a channel that allows a fixed number.

use std::pin::Pin;

use tokio::task::JoinSet;

use super::*;
use crate::channels::{Attempt, Gate, Outgoing};
use crate::clock::Timestamp;

/// One attempt at once for each so many that wait, and so many at most.
struct Wide {
    each: usize,
    most: usize,
}

impl Channel for Wide {
    fn attempt<'a>(
        &'a self,
        _outgoing: &'a Outgoing,
        _now: Timestamp,
    ) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> {
        unreachable!("nothing is sent here")
    }

    fn connections(&self, waiting: usize) -> usize {
        waiting.div_ceil(self.each).clamp(1, self.most)
    }

    fn gate(&self, _urgent: bool, _now: Timestamp) -> Gate {
        Gate::Open
    }

    fn broken(&self) -> Option<&'static str> {
        None
    }

    fn probe(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

fn slots(each: usize, most: usize) -> Arc<Slots> {
    Arc::new(Slots::new(Arc::new(Wide { each, most })))
}

/// Lets `urgent` and `ordinary` messages wait behind one that runs; the order in which they then go.
async fn order(ordinary: usize, urgent: usize) -> String {
    let slots = slots(usize::MAX, 1);
    let running = slots.enter(false).turn().await;
    let order = Arc::new(Mutex::new(String::new()));
    let mut tasks = JoinSet::new();
    for (is_urgent, letter) in
        std::iter::repeat_n((false, 'o'), ordinary).chain(std::iter::repeat_n((true, 'U'), urgent))
    {
        let (slots, order) = (slots.clone(), order.clone());
        tasks.spawn(async move {
            let _slot = slots.enter(is_urgent).turn().await;
            order.lock().unwrap().push(letter);
        });
        tokio::task::yield_now().await;
    }
    drop(running);
    tasks.join_all().await;
    std::mem::take(&mut *order.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_urgent_message_overtakes_all_ordinary_ones_that_wait() {
    assert_eq!(order(5, 2).await, "UUooooo");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_urgent_messages_delays_the_others_and_does_not_stop_them() {
    assert_eq!(order(3, 20).await, "UUUUUUUUoUUUUUUUUoUUUUo");
}

#[tokio::test(start_paused = true)]
async fn as_many_run_as_those_that_wait_warrant() {
    let slots = slots(8, 3);
    let mut waiting = JoinSet::new();
    for count in 1..=40 {
        let slots = slots.clone();
        waiting.spawn({
            let slots = slots.clone();
            async move { std::mem::forget(slots.enter(false).turn().await) }
        });
        tokio::task::yield_now().await;
        let running = slots.state().running;
        let expected = match count {
            1..10 => 1,  // up to eight behind one
            10..19 => 2, // nine behind one are eight behind two
            _ => 3,
        };
        assert_eq!(running, expected, "{count} came");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_second_gets_one_more_at_once_and_never_more_than_the_channel_can() {
    let slots = slots(8, 3);
    let stuck = slots.enter(false).turn().await;
    let began = Instant::now();
    let second = slots.enter(false).turn().await;
    assert_eq!(began.elapsed(), PATIENCE, "behind one that does not come back");
    let third = slots.enter(true).turn().await;
    assert!(timeout(PATIENCE * 10, slots.enter(true).turn()).await.is_err(), "three is all it can");
    drop((stuck, second, third));
    let _first = slots.enter(false).turn().await;
    assert_eq!(slots.state().running, 1, "whoever gave up waiting took no turn");
    assert_eq!(slots.state().extra, 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_to_one_that_has_just_given_up_goes_to_the_next() {
    let slots = slots(8, 1);
    let running = slots.enter(false).turn().await;
    let mut gives_up = Box::pin(slots.enter(true).turn());
    assert!(timeout(Duration::ZERO, &mut gives_up).await.is_err());
    let next = tokio::spawn({
        let slots = slots.clone();
        async move { drop(slots.enter(false).turn().await) }
    });
    tokio::task::yield_now().await;
    drop(running); // tells the one that gives up
    drop(gives_up);
    timeout(Duration::from_secs(30), next).await.expect("the next one has its turn").unwrap();
    assert_eq!(slots.state().running, 0);
}
