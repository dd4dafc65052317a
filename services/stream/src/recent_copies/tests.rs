//! A second, at most; one reader, at most; so many bytes, at most.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::{advance, sleep};

use super::*;

impl Kept for u32 {
    fn held_bytes(&self) -> usize {
        0
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_at_once_read_once() {
    let copies = Arc::new(RecentCopies::default());
    let reads = Arc::new(AtomicU32::new(0));
    let calls = (0..1_000).map(|_| {
        let (copies, reads) = (Arc::clone(&copies), Arc::clone(&reads));
        tokio::spawn(async move {
            copies
                .get(&"page", async {
                    reads.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(300)).await;
                    Ok::<_, ()>(7_u32)
                })
                .await
        })
    });
    for call in futures::future::join_all(calls).await {
        assert_eq!(call.unwrap(), Ok(7));
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_never_older_than_a_second_counted_from_before_it_was_read() {
    let copies = RecentCopies::default();
    let slow = async {
        sleep(Duration::from_millis(600)).await;
        Ok::<_, ()>(1)
    };
    assert_eq!(copies.get(&(), slow).await, Ok(1));
    advance(Duration::from_millis(399)).await;
    assert_eq!(copies.get(&(), async { Ok::<_, ()>(2) }).await, Ok(1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(copies.get(&(), async { Ok::<_, ()>(2) }).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_for_a_second_and_then_tried_again() {
    let copies: RecentCopies<(), u32> = RecentCopies::default();
    assert_eq!(
        copies.get(&(), async { Err("away") }).await,
        Err(NoCopy::Error("away"))
    );
    assert_eq!(
        copies.get(&(), async { Ok::<_, &str>(1) }).await,
        Err(NoCopy::FailedLately)
    );
    advance(MAX_AGE).await;
    assert_eq!(copies.get(&(), async { Ok::<_, &str>(1) }).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_while_reading_blocks_nobody() {
    let copies: RecentCopies<(), u32> = RecentCopies::default();
    let left = tokio::time::timeout(
        Duration::from_millis(10),
        copies.get(&(), std::future::pending::<Result<u32, ()>>()),
    );
    assert!(left.await.is_err());
    assert_eq!(copies.get(&(), async { Ok::<_, ()>(7) }).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn made_up_keys_do_not_fill_the_memory() {
    let copies = RecentCopies::default();
    for key in 0..3 * MAX_KEYS {
        assert_eq!(
            copies.get(&key, async { Ok::<_, ()>(true) }).await,
            Ok(true)
        );
    }
    assert_eq!(copies.slots.lock().unwrap().len(), MAX_KEYS);
    advance(MAX_AGE).await;
    copies
        .get(&usize::MAX, async { Ok::<_, ()>(true) })
        .await
        .unwrap();
    assert_eq!(copies.slots.lock().unwrap().len(), 1);
}

/// Fifty callers, one after another while a reading goes on that takes `takes`: how often it is read, what they
/// get and how long the last one waits.
async fn fifty_callers(
    takes: Duration,
    outcome: Result<u32, &'static str>,
) -> (u32, Vec<Result<u32, NoCopy<&'static str>>>, Duration) {
    let (copies, reads) = (RecentCopies::default(), AtomicU32::new(0));
    let began = Instant::now();
    let calls = (0..50).map(|n| {
        let (copies, reads) = (&copies, &reads);
        async move {
            sleep(takes / 60 * n).await;
            let read = async {
                reads.fetch_add(1, Ordering::SeqCst);
                sleep(takes).await;
                outcome
            };
            copies.get(&"page", read).await
        }
    });
    let answers = futures::future::join_all(calls).await;
    (reads.into_inner(), answers, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_reading_fails_slowly_fails_with_it_and_does_not_try_in_turn() {
    let takes = Duration::from_secs(3);
    let (reads, answers, took) = fifty_callers(takes, Err("away")).await;
    assert_eq!((reads, took), (1, takes));
    assert_eq!(answers[0], Err(NoCopy::Error("away")));
    let others = &answers[1..];
    assert!(
        others
            .iter()
            .all(|answer| *answer == Err(NoCopy::FailedLately))
    );
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_reading_takes_longer_than_a_copy_lasts_shares_it() {
    let takes = Duration::from_millis(1_500);
    let (reads, answers, took) = fifty_callers(takes, Ok(7)).await;
    assert_eq!((reads, took), (1, takes));
    assert!(answers.iter().all(|answer| *answer == Ok(7)));
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_slow_reading_has_another_and_after_a_slow_failure_waits_a_second() {
    let copies: RecentCopies<(), u32> = RecentCopies::default();
    let slowly = |outcome| async move {
        sleep(Duration::from_millis(1_500)).await;
        outcome
    };
    let at_once = async || copies.get(&(), async { Ok::<_, &str>(2) }).await;
    assert_eq!(copies.get(&(), slowly(Ok::<_, &str>(1))).await, Ok(1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(at_once().await, Ok(2));
    advance(MAX_AGE).await;
    let failed = copies.get(&(), slowly(Err("away"))).await;
    assert_eq!(failed, Err(NoCopy::Error("away")));
    advance(Duration::from_millis(999)).await;
    assert_eq!(at_once().await, Err(NoCopy::FailedLately));
    advance(Duration::from_millis(1)).await;
    assert_eq!(at_once().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn all_copies_together_have_so_many_bytes_and_the_oldest_goes_first() {
    let copies = RecentCopies::default();
    let page = Bytes::from(vec![0; MAX_BYTES / 10]);
    for key in 0..30 {
        let read = async { Ok::<_, ()>(page.clone()) };
        assert_eq!(copies.get(&key, read).await, Ok(page.clone()));
        advance(Duration::from_millis(1)).await;
    }
    let mut kept: Vec<u32> = copies.slots().keys().copied().collect();
    kept.sort_unstable();
    assert_eq!(kept, (20..30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_old_goes_with_the_next_copy_of_anything() {
    let copies = RecentCopies::default();
    for key in 0..10 {
        copies.get(&key, async { Ok::<_, ()>(true) }).await.unwrap();
    }
    advance(MAX_AGE).await;
    copies.get(&99, async { Ok::<_, ()>(true) }).await.unwrap();
    let kept: Vec<u32> = copies.slots().keys().copied().collect();
    assert_eq!(kept, [99]);
}
