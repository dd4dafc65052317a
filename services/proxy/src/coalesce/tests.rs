//! What room and time there is for joined answers. The clock is tokio's, and stands still.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use futures::future::{join_all, pending};
use http_body_util::{BodyExt, Full, combinators::BoxBody};

use super::{budget::MAX_ANSWER_BYTES, marks::Mark, *};

type Asked = Result<Response<BoxBody<Bytes, BoxError>>, ProxyError>;

struct World {
    coalescer: Coalescer,
    tasks: TaskTracker,
}

impl World {
    fn new() -> Self {
        Self {
            coalescer: Coalescer::default(),
            tasks: TaskTracker::new(),
        }
    }

    async fn join(
        &self,
        path: &str,
        answer: impl Future<Output = Asked> + Send + 'static,
    ) -> Joined {
        let request = Request::builder().uri(path).body(()).unwrap();
        let route = Route {
            stream_id: path.split('/').nth(1).unwrap().into(),
            upstream: "edge:80".parse().unwrap(),
            mark: Mark::default(),
        };
        let joined = self
            .coalescer
            .join(&self.tasks, &route, &request, |_| answer);
        joined.await.unwrap()
    }

    /// Answers that nobody has read yet, until there is no room for more of this stream.
    async fn fill(&self, stream_id: &str) -> Vec<Response<JoinedBody>> {
        let mut unread = Vec::new();
        loop {
            let path = format!("/{stream_id}/{}", unread.len());
            match self.join(&path, async { Ok(largest()) }).await {
                Joined::Answer(response) => unread.push(response),
                Joined::Alone => return unread,
            }
        }
    }

    fn has_room(&self, stream_id: &str) -> bool {
        let budget = self.coalescer.0.budgets.of(Kind::Other);
        budget.has_room(stream_id)
    }

    /// Lets what can happen without time passing happen.
    async fn settles(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

fn marked(body: impl Into<Bytes>) -> Response<BoxBody<Bytes, BoxError>> {
    let body = Full::new(body.into()).map_err(BoxError::from).boxed();
    let response = Response::builder().header(marks::COALESCE, "1");
    response.body(body).unwrap()
}

fn largest() -> Response<BoxBody<Bytes, BoxError>> {
    marked(vec![0; usize::try_from(MAX_ANSWER_BYTES).unwrap()])
}

fn is_alone(joined: &Joined) -> bool {
    matches!(joined, Joined::Alone)
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_slowly_is_cut_off_and_makes_room() {
    let world = World::new();
    let mut unread = world.fill("a").await;
    tokio::time::sleep(READ_WITHIN / 2).await;
    assert!(!world.has_room("a"));
    let in_time = unread.pop().unwrap().into_body().collect().await.unwrap();
    assert_eq!(in_time.to_bytes().len() as u64, MAX_ANSWER_BYTES);
    tokio::time::sleep(READ_WITHIN).await;
    for late in unread {
        let error = late.into_body().collect().await.unwrap_err();
        assert!(error.to_string().contains("too slowly"), "{error}");
    }
    assert!(!world.fill("a").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_room_nobody_waits_for_another_and_other_streams_are_joined() {
    let world = World::new();
    let _unread = world.fill("a").await;
    // An answer that would never come is not asked for.
    let joined = join_all((0..5).map(|_| world.join("/a/part", pending()))).await;
    assert!(joined.iter().all(is_alone));
    let joined = join_all((0..5).map(|_| world.join("/b/part", async { Ok(marked("b")) }))).await;
    assert!(!joined.iter().any(is_alone));
}

#[tokio::test(start_paused = true)]
async fn slow_readers_of_segments_leave_playlists_joined() {
    let world = World::new();
    let _unread = world.fill("a").await;
    let playlist = || world.join("/a/live.m3u8", async { Ok(marked("#EXTM3U")) });
    let joined = join_all((0..5).map(|_| playlist())).await;
    assert!(!joined.iter().any(is_alone));
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_can_be_joined_without_room_for_more() {
    let world = World::new();
    let (opens, opened) = tokio::sync::oneshot::channel();
    let answer = async move {
        let () = opened.await.unwrap();
        Ok(marked("part"))
    };
    let first = world.join("/a/part", answer);
    let second = async {
        world.settles().await;
        let unread = world.fill("a").await;
        let second = world.join("/a/part", pending());
        let opened = async {
            world.settles().await;
            // Or there would be no room for the part itself.
            drop(unread);
            world.settles().await;
            opens.send(()).unwrap();
        };
        tokio::join!(second, opened).0
    };
    let (first, second) = tokio::join!(first, second);
    assert!(!is_alone(&first) && !is_alone(&second));
}

#[tokio::test(start_paused = true)]
async fn when_who_asks_for_all_dies_each_asks_for_itself() {
    let world = World::new();
    let dies = async {
        tokio::task::yield_now().await;
        std::panic::resume_unwind(Box::new("dead"));
    };
    let (first, second) = tokio::join!(
        world.join("/a/part", dies),
        world.join("/a/part", pending())
    );
    assert!(is_alone(&first) && is_alone(&second));
    let next = world.join("/a/part", async { Ok(marked("part")) }).await;
    assert!(!is_alone(&next), "nothing is left of it");
}
