//! A route that leads back to the proxy ends with an answer, not with a storm.

use crate::fixture::{Proxy, set, unique};

#[tokio::test]
async fn a_proxy_that_is_its_own_upstream_answers_508() {
    let proxy = Proxy::start().await;
    let id = unique("loop");
    set(&id, proxy.address).await;
    let got = proxy.get(&format!("/stream/{id}")).await;
    assert_eq!(got.status, 508, "{got:?}");
    assert_eq!(got.body["code"], "loop_detected");
}

#[tokio::test]
async fn two_proxies_that_lead_to_each_other_answer_508() {
    let (one, other) = (Proxy::start().await, Proxy::start().await);
    // One table for both: a request goes from the one to the other, and there to itself.
    let id = unique("loop");
    set(&id, other.address).await;
    let got = one.get(&format!("/stream/{id}")).await;
    assert_eq!(got.status, 508, "{got:?}");
}

#[tokio::test]
async fn a_request_that_came_through_other_proxies_is_no_loop() {
    let proxy = Proxy::start().await;
    let id = unique("chain");
    set(&id, crate::fixture::echo("it").await).await;
    let request = proxy
        .request(http::Method::GET, &format!("/stream/{id}"))
        .header("cdn-loop", "some-cdn, marquee-proxy-0123456789abcdef");
    let got = crate::fixture::answer(request).await;
    let hops = got.received("cdn-loop");
    assert_eq!(hops.len(), 2, "{hops:?}");
    assert!(hops[1].starts_with("marquee-proxy-"), "{hops:?}");
}
