//! Who and what is kept apart: requests that differ, answers that are somebody's own, upstreams that
//! do not say that theirs are not.

use super::*;

#[tokio::test]
async fn an_upstream_that_does_not_say_so_is_asked_by_everybody() {
    for mark in ["", "0", "yes"] {
        let (proxy, edge, path) = world(mark).await;
        edge.holds();
        let requests = join_all((0..10).map(|_| length(proxy.request(Method::GET, &path))));
        let opened = async {
            eventually("everybody is passed on at once", PATIENCE, async || {
                (edge.asked() == 11).then_some(())
            })
            .await;
            edge.gives();
        };
        tokio::join!(requests, opened);
    }
}

#[tokio::test]
async fn requests_that_differ_or_are_somebodys_own_are_not_joined() {
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    let get = |path: String| proxy.request(Method::GET, &path);
    let requests = vec![
        get(path.clone()),
        get(format!("{path}?_HLS_msn=3")),
        get(path.clone()).header("range", "bytes=0-1"),
        get(path.clone()).header("range", "bytes=0-1"),
        get(path.clone()).header("authorization", "Bearer x"),
        get(path.clone()).header("authorization", "Bearer x"),
        get(path.clone()).header("if-none-match", "\"x\""),
        get(path.clone()).header("accept-encoding", "gzip"),
        get(path.clone()).header("origin", "http://a"),
        proxy.request(Method::POST, &path),
        proxy.request(Method::POST, &path),
    ];
    let each = requests.len();
    let requests = join_all(requests.into_iter().map(length));
    let opened = async {
        eventually("each is passed on", PATIENCE, async || {
            (edge.asked() == 1 + each).then_some(())
        })
        .await;
        edge.gives();
    };
    tokio::join!(requests, opened);
}

#[tokio::test]
async fn what_the_first_one_asks_with_is_nothing_to_the_others() {
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    // As many lines as the proxy takes; with its own they would be too many for the edge.
    let lines = "x-line: 1\r\n".repeat(99);
    let first = asks(&proxy, &path, &lines).await;
    are_joined(&proxy, 1).await;
    let others = join_all((0..5).map(|_| length(proxy.request(Method::GET, &path))));
    let opened = async {
        are_joined(&proxy, 6).await;
        drop(first);
        are_joined(&proxy, 5).await;
        edge.gives();
    };
    let (lengths, ()) = tokio::join!(others, opened);
    assert!(lengths.iter().all(|length| *length == BODY));
    assert_eq!(edge.asked(), 2);
}

#[tokio::test]
async fn whom_an_answer_is_not_for_asks_with_what_is_its_own() {
    let (proxy, edge, path) = world("1").await;
    let path = format!("{path}/private");
    edge.holds();
    let ask = |name: &'static str| {
        let request = proxy.request(Method::GET, &path).header("x-token", name);
        request.header("cookie", "theme=dark").send()
    };
    let gone = asks(&proxy, &path, "x-token: gone\r\n").await;
    are_joined(&proxy, 1).await;
    let opened = async {
        are_joined(&proxy, 3).await;
        drop(gone);
        are_joined(&proxy, 2).await;
        edge.gives();
    };
    let (one, other, ()) = tokio::join!(ask("one"), ask("other"), opened);
    for (name, answer) in [("one", one), ("other", other)] {
        let answer = answer.unwrap();
        assert_eq!(answer.headers()["x-token"], name);
        assert_eq!(answer.headers()["x-cookie"], "true");
    }
    let alone = ask("alone").await.unwrap();
    assert_eq!(alone.headers()["x-cookie"], "true", "though it came first");
}

#[tokio::test]
async fn each_line_of_accept_encoding_counts() {
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    let encoding = "accept-encoding: identity\r\n";
    let _two = asks(
        &proxy,
        &path,
        &format!("{encoding}accept-encoding: gzip\r\n"),
    )
    .await;
    are_joined(&proxy, 1).await;
    let one = proxy
        .request(Method::GET, &path)
        .header("accept-encoding", "identity")
        .send();
    let opened = async {
        are_joined(&proxy, 2).await;
        edge.gives();
    };
    let (one, ()) = tokio::join!(one, opened);
    assert_eq!(one.unwrap().headers()["x-encodings"], "1");
    assert_eq!(edge.asked(), 3);
}

#[tokio::test]
async fn what_playlists_say_of_themselves_is_not_said_of_segments() {
    let edge = Edge::start("1").await;
    let proxy = Proxy::start().await;
    let id = unique("edge");
    set(&id, edge.address).await;
    let playlist = format!("/stream/{id}/live.m3u8");
    assert_eq!(length(proxy.request(Method::GET, &playlist)).await, BODY);
    edge.holds();
    let segment = format!("/stream/{id}/0.ts");
    let segments = join_all((0..5).map(|_| length(proxy.request(Method::GET, &segment))));
    let playlists = join_all((0..5).map(|_| length(proxy.request(Method::GET, &playlist))));
    let opened = async {
        eventually(
            "segments by themselves, playlists together",
            PATIENCE,
            async || (edge.asked() == 1 + 5 + 1 && proxy.coalescer.followers() == 5).then_some(()),
        )
        .await;
        edge.gives();
    };
    tokio::join!(segments, playlists, opened);
}

#[tokio::test]
async fn an_upstream_is_not_told_the_cookies_of_those_it_answers_together() {
    let (proxy, _edge, path) = world("1").await;
    let request = proxy
        .request(Method::GET, &path)
        .header("cookie", "theme=dark");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-cookie"], "false");
    assert_eq!(
        response.headers()["marquee-coalesce"],
        "1",
        "for a proxy in front"
    );
}

#[tokio::test]
async fn a_route_that_changes_is_not_joined_until_its_new_upstream_says_so() {
    let (proxy, edge, path) = world("1").await;
    let other = Edge::start("").await;
    let id = path.split('/').nth(2).unwrap();
    set(id, other.address).await;
    // By a playlist, which says nothing of what is not one.
    let playlist = format!("/stream/{id}/live.m3u8");
    eventually("the new route is known", PATIENCE, async || {
        length(proxy.request(Method::GET, &playlist)).await;
        (other.asked() > 0).then_some(())
    })
    .await;
    let before = edge.asked();
    other.holds();
    let requests = join_all((0..10).map(|_| length(proxy.request(Method::GET, &path))));
    let opened = async {
        eventually("everybody is passed on", PATIENCE, async || {
            (other.asked() == 1 + 10).then_some(())
        })
        .await;
        other.gives();
    };
    tokio::join!(requests, opened);
    assert_eq!(edge.asked(), before);
}

#[tokio::test]
async fn errors_say_nothing_of_what_may_be_joined() {
    let (proxy, edge, path) = world("1").await;
    for _ in 0..20 {
        let missing = proxy.get(&format!("{path}/missing")).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
    }
    let before = edge.asked();
    edge.holds();
    let requests = join_all((0..5).map(|_| length(proxy.request(Method::GET, &path))));
    let opened = async {
        are_joined(&proxy, 5).await;
        edge.gives();
    };
    tokio::join!(requests, opened);
    assert_eq!(edge.asked(), before + 1);
}

#[tokio::test]
async fn an_error_that_is_marked_is_for_all_who_waited_for_it() {
    let (proxy, edge, path) = world("1").await;
    edge.holds();
    let late = format!("{path}/late");
    let requests = join_all((0..5).map(|_| proxy.get(&late)));
    let opened = async {
        are_joined(&proxy, 5).await;
        edge.gives();
    };
    let (answers, ()) = tokio::join!(requests, opened);
    for answer in answers {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(edge.asked(), 2, "the first one, and one for all");
}
