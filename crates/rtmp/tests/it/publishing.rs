//! Publishers that behave.

use std::time::{Duration, Instant};

use marquee_hls::ts::{PacketKind, Reader, StreamType};
use marquee_rtmp::{Connection, Listener, RecvError, Refusal};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::obs::Obs;
use crate::{accept, everything, in_time, listen};

const KEY: &str = "c29tZSBrZXkgdGhhdCBvcGVucyBzb21ldGhpbmc";

/// A publisher that was told to begin.
async fn admitted(listener: &mut Listener) -> (Obs, Connection) {
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.request(KEY).await;
    let connection = accept(listener).await;
    connection.admit();
    obs.hears().await;
    (obs, connection)
}

#[tokio::test]
async fn obs_publishes_and_what_it_sends_comes_out_as_a_transport_stream() {
    let mut listener = listen(|_| {}).await;
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.request(KEY).await;
    let mut connection = accept(&mut listener).await;
    assert_eq!(connection.stream_key(), KEY);
    assert!(!format!("{connection:?}").contains(KEY));
    connection.admit();
    let (name, texts) = obs.hears().await;
    assert_eq!(name, "onStatus");
    assert!(
        texts.contains(&"NetStream.Publish.Start".to_owned()),
        "{texts:?}"
    );

    obs.headers().await;
    for index in 0..30 {
        obs.frame(index * 33, index == 0, 9_000).await;
    }
    obs.stop(KEY).await;
    let bytes = everything(&mut connection).await;
    let (mut frames, mut sounds, mut keyframes) = (0, 0, 0);
    let mut reader = Reader::new();
    reader.push(&bytes, &mut |packet| {
        if let Some(start) = packet.start {
            match packet.kind {
                PacketKind::Video => frames += 1,
                _ => sounds += 1,
            }
            keyframes += i32::from(start.random_access && packet.kind == PacketKind::Video);
        }
    });
    assert_eq!((frames, sounds, keyframes), (30, 30, 1));
    let tables = reader.tables();
    assert_eq!(tables.video().unwrap().stream_type, StreamType::H264);
    assert_eq!(tables.audio().unwrap().stream_type, StreamType::AAC);
    obs.is_closed().await;
}

#[tokio::test]
async fn a_refused_publisher_is_told_why_from_memory_and_after_the_check() {
    let mut listener = listen(|_| {}).await;
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    let (name, texts) = obs.publish("known-bad").await;
    assert_eq!(name, "onStatus");
    assert!(
        texts.contains(&"NetStream.Publish.BadName".to_owned()),
        "{texts:?}"
    );
    obs.is_closed().await;

    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.request(KEY).await;
    accept(&mut listener).await.refuse(Refusal::Contended);
    let (_, texts) = obs.hears().await;
    assert!(
        texts.contains(&"NetStream.Publish.Rejected".to_owned()),
        "{texts:?}"
    );
    assert!(texts.contains(&Refusal::Contended.description().to_owned()));
    obs.is_closed().await;
}

#[tokio::test]
async fn a_publisher_nobody_wanted_is_told_to_try_again() {
    let mut listener = listen(|_| {}).await;
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.request(KEY).await;
    drop(accept(&mut listener).await);
    let (_, texts) = obs.hears().await;
    assert!(
        texts.contains(&Refusal::Unavailable.description().to_owned()),
        "{texts:?}"
    );
    obs.is_closed().await;
}

#[tokio::test]
async fn an_encoder_that_begins_before_it_may_gets_on_the_air() {
    let mut listener = listen(|_| {}).await;
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.request(KEY).await;
    let mut connection = accept(&mut listener).await;
    let sending = tokio::spawn(async move {
        obs.headers().await;
        // Far more than is read of somebody who was not let in, and than the system holds.
        for index in 0..12 {
            obs.frame(index * 33, index == 0, 1 << 20).await;
        }
        obs.stop(KEY).await;
        obs
    });
    // As far as it gets.
    let mut before = u64::MAX;
    while before != connection.bytes_received() {
        before = connection.bytes_received();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(before < 128 << 10, "{before} bytes were read of a stranger");
    connection.admit();
    let bytes = everything(&mut connection).await;
    let mut frames = 0;
    Reader::new().push(&bytes, &mut |packet| {
        frames += i32::from(packet.start.is_some() && packet.kind == PacketKind::Video);
    });
    assert_eq!(frames, 12);
    let mut obs = sending.await.unwrap();
    assert!(
        obs.hears()
            .await
            .1
            .contains(&"NetStream.Publish.Start".to_owned())
    );
}

#[tokio::test]
async fn a_publisher_that_leaves_before_the_verdict_is_noticed() {
    let mut listener = listen(|_| {}).await;
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.request(KEY).await;
    let mut connection = accept(&mut listener).await;
    drop(obs);
    assert_eq!(in_time(connection.recv()).await, Ok(None));
}

#[tokio::test]
async fn a_viewer_is_told_that_nothing_is_played_here() {
    let listener = listen(|_| {}).await;
    let mut obs = Obs::connect_to(listener.local_addr()).await;
    obs.command("play", &[vec![5], vec![2, 0, 1, b'x']]).await;
    let (_, texts) = obs.hears().await;
    assert!(
        texts.contains(&"NetStream.Play.Failed".to_owned()),
        "{texts:?}"
    );
    obs.is_closed().await;
}

#[tokio::test]
async fn a_closed_publisher_is_gone_at_once() {
    let mut listener = listen(|_| {}).await;
    let (mut obs, mut connection) = admitted(&mut listener).await;
    obs.headers().await;
    let closer = connection.closer();
    let began = Instant::now();
    closer.close(None);
    closer.close(Some(Refusal::Busy));
    assert_eq!(in_time(connection.recv()).await, Err(RecvError::Closed));
    obs.is_closed().await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn who_is_sent_away_on_the_air_is_told_why_and_gone_within_a_second() {
    let mut listener = listen(|_| {}).await;
    let (mut obs, connection) = admitted(&mut listener).await;
    obs.headers().await;
    // More than anybody receives: bytes unread, which would reset the connection.
    for index in 0..100 {
        obs.frame(index * 33, index == 0, 9_000).await;
    }
    let began = Instant::now();
    connection.closer().close(Some(Refusal::NoKeyframe));
    drop(connection);
    let (_, texts) = obs.hears().await;
    assert!(
        texts.contains(&Refusal::NoKeyframe.description().to_owned()),
        "{texts:?}"
    );
    obs.is_closed().await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_publisher_that_takes_no_answers_can_be_closed_at_once() {
    let mut listener = listen(|_| {}).await;
    // With little room for answers that are not read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let stream = socket.connect(listener.local_addr()).await.unwrap();
    let mut obs = Obs::greet(stream).await;
    obs.request(KEY).await;
    let connection = accept(&mut listener).await;
    connection.admit();
    obs.hears().await;
    // Each is answered, until no answer can be written any more; then nothing is read either.
    let pings = async {
        loop {
            obs.message(2, 4, 0, 0, &[0, 6, 0, 0, 0, 42]).await;
        }
    };
    let stuck = async {
        let mut received = u64::MAX;
        while received != connection.bytes_received() {
            received = connection.bytes_received();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(received > 0);
    };
    tokio::select! {
        () = pings => {}
        () = in_time(stuck) => {}
    }
    let began = Instant::now();
    connection.closer().close(None);
    // Still without reading: an answer that is taken would set it free.
    let closed = async { while obs.stream.write_all(&[0; 4096]).await.is_ok() {} };
    in_time(closed).await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_connection_that_only_chats_is_as_good_as_gone() {
    let silence = Duration::from_millis(400);
    let mut listener = listen(|config| config.no_data_timeout = silence).await;
    let (mut obs, mut connection) = admitted(&mut listener).await;
    obs.headers().await;
    obs.frame(0, true, 500).await;
    let chatting = async {
        loop {
            obs.message(2, 4, 0, 0, &[0, 6, 0, 0, 0, 42]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ending = async {
        loop {
            match in_time(connection.recv()).await {
                Ok(Some(_)) => {}
                end => return end,
            }
        }
    };
    let end = tokio::select! {
        () = chatting => unreachable!("it never ends"),
        end = ending => end,
    };
    assert_eq!(end, Err(RecvError::NoData(silence)));
}

#[tokio::test]
async fn further_tracks_and_damaged_messages_do_not_end_a_live() {
    let mut listener = listen(|_| {}).await;
    let (mut obs, mut connection) = admitted(&mut listener).await;
    obs.headers().await;
    // As OBS sends its second track, an end of sequence, and a frame that is cut off.
    let further = [&[0x95, 0x00][..], b"mp4a", &[1, 0xde, 0xad]].concat();
    for index in 0..150 {
        obs.frame(index * 33, index == 0, 500).await;
        obs.message(4, 8, 1, index * 33, &further).await;
        obs.message(4, 9, 1, index * 33, &[0x27, 2]).await;
        obs.message(4, 9, 1, index * 33, &[0x27, 1, 0, 0, 0, 0, 0, 1, 0, 0x41])
            .await;
    }
    obs.stop(KEY).await;
    let bytes = everything(&mut connection).await;
    let mut units = 0;
    Reader::new().push(&bytes, &mut |packet| {
        units += i32::from(packet.start.is_some());
    });
    assert_eq!(units, 300);
    assert_eq!(connection.messages_dropped(), 300);
}

#[tokio::test]
async fn a_publisher_that_vanishes_is_noticed_by_our_own_timer() {
    let silence = Duration::from_millis(300);
    let mut listener = listen(|config| config.no_data_timeout = silence).await;
    let (mut obs, mut connection) = admitted(&mut listener).await;
    obs.headers().await;
    obs.frame(0, true, 500).await;
    // The socket stays open, and nothing comes.
    let end = loop {
        match in_time(connection.recv()).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end, Err(RecvError::NoData(silence)));
}

#[tokio::test]
async fn a_reader_that_lags_holds_the_publisher_back_and_loses_nothing() {
    let mut listener = listen(|config| config.no_data_timeout = Duration::from_millis(300)).await;
    let (mut obs, mut connection) = admitted(&mut listener).await;
    let sending = tokio::spawn(async move {
        obs.headers().await;
        for index in 0..400 {
            obs.frame(index * 33, index == 0, 60_000).await;
        }
        obs.stop(KEY).await;
        obs
    });
    // Longer than the no-data timer: it is not the publisher's fault.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(
        !sending.is_finished(),
        "24 MB do not fit into what may wait"
    );
    let bytes = everything(&mut connection).await;
    let mut frames = 0;
    Reader::new().push(&bytes, &mut |packet| {
        frames += i32::from(packet.start.is_some() && packet.kind == PacketKind::Video);
    });
    assert_eq!(frames, 400);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn codecs_that_are_not_taken_are_refused_by_name() {
    for (kind, tag, says) in [
        (9, vec![0x90, b'a', b'v', b'0', b'1', 0], "AV1"),
        (8, vec![0x2f, 0xff], "MP3"),
    ] {
        let mut listener = listen(|_| {}).await;
        let (mut obs, mut connection) = admitted(&mut listener).await;
        obs.message(4, kind, 1, 0, &tag).await;
        let (_, texts) = obs.hears().await;
        assert!(
            texts.contains(&"NetStream.Publish.Rejected".to_owned()),
            "{texts:?}"
        );
        assert!(texts.iter().any(|text| text.contains(says)), "{texts:?}");
        let end = in_time(connection.recv()).await;
        assert!(matches!(end, Err(RecvError::Protocol(_))), "{end:?}");
    }
}
