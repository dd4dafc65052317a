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
async fn a_chain_of_proxies_is_no_loop() {
    let (outer, inner) = (Proxy::start().await, Proxy::start().await);
    let upstream = crate::fixture::echo("it").await;
    let id = unique("chain");
    set(&id, inner.address).await;
    // The inner proxy is asked under another id, by the path that stays as it is: so it is given
    // the upstream while the outer one still remembers the inner.
    let got = outer.get(&format!("/stream/{id}")).await;
    assert_eq!(got.status, 508, "the inner one reads the same table");
    set(&id, upstream).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(outer.name_behind(&id).await.as_deref(), Some("it"));
}
