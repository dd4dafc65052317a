//! Admission and renewal: who may write a broadcast, under which epoch.

use marquee_common::contract::{
    BroadcastId, StreamId,
    ingest::{
        Authorized, BroadcastState, IngestProtocol, RenewBroadcast, RenewRequest, RenewedBroadcast,
    },
};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    Store,
    broadcasts::lock_running,
    int8, interval,
    rows::{BroadcastRow, LockedStream, broadcast_columns},
    streams::lock_stream_by_key,
};
use crate::{
    admission::{Knock, Refusal, Running, TRANSCODER_SILENT_AFTER, Verdict},
    error::Error,
    stream_key::StreamKey,
};

/// How far above the last number that was reported a successor starts: the predecessor may have
/// taken a few more before it fell silent.
const MSN_GAP: u64 = 8;

/// Who held a broadcast, under which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The stream.
    pub stream_id: StreamId,
    /// The transcoder's base URL.
    pub transcoder_url: String,
    /// The epoch it held it under.
    pub epoch: u64,
}

impl Holder {
    pub(super) fn of(broadcast: &BroadcastRow) -> Self {
        Self {
            stream_id: broadcast.stream_id,
            transcoder_url: broadcast.transcoder_url.clone(),
            epoch: broadcast.epoch,
        }
    }
}

/// A publisher was admitted.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The answer to its transcoder.
    pub authorized: Authorized,
    /// Another transcoder that held the broadcast until now and is to let go.
    pub replaced: Option<Holder>,
}

impl Store {
    /// Admits a publisher or refuses it: one transaction over the stream's locked row.
    pub async fn authorize(
        &self,
        key: &StreamKey,
        protocol: IngestProtocol,
        transcoder_url: &str,
    ) -> Result<Admitted, Error> {
        let mut tx = self.pool.begin().await?;
        let stream = lock_stream_by_key(&mut tx, key)
            .await?
            .ok_or(Error::NotFound)?;
        let running = lock_running(&mut tx, stream.id).await?;
        let verdict = knock(&stream, running.as_ref()).verdict();
        let admitted = match (verdict, running) {
            (Verdict::Refuse(refusal), _) => {
                if let Refusal::Contended {
                    begins: Some(until),
                    ..
                } = refusal
                {
                    mark_contended(&mut tx, stream.id, until).await?;
                    tx.commit().await?;
                }
                return Err(refusal.into());
            }
            (Verdict::Return, Some(held)) => {
                resume(&mut tx, &held, protocol, transcoder_url).await?
            }
            (Verdict::TakeOver { takeovers }, Some(held)) => {
                sqlx::query("UPDATE streams SET takeovers = $2 WHERE id = $1")
                    .bind(stream.id.0)
                    .bind(takeovers)
                    .execute(&mut *tx)
                    .await?;
                resume(&mut tx, &held, protocol, transcoder_url).await?
            }
            (Verdict::Start | Verdict::Return | Verdict::TakeOver { .. }, _) => {
                start(&mut tx, &stream, protocol, transcoder_url).await?
            }
        };
        tx.commit().await?;
        Ok(admitted)
    }

    /// Takes a transcoder's renewals and tells it of each broadcast, in the order asked.
    pub async fn renew(&self, request: &RenewRequest) -> Result<Vec<RenewedBroadcast>, Error> {
        let asked = &request.broadcasts;
        let ids: Vec<Uuid> = asked.iter().map(|held| held.broadcast_id.0).collect();
        let column = |name, of: fn(&RenewBroadcast) -> u64| {
            asked
                .iter()
                .map(|held| int8(name, of(held)))
                .collect::<Result<Vec<i64>, Error>>()
        };
        let epochs = column("epoch", |held| held.epoch)?;
        let next_msns = column("next_msn", |held| held.next_msn)?;
        let discontinuities = column("discontinuity_seq", |held| held.discontinuity_seq)?;

        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO transcoders (url, heard_at) VALUES ($1, clock_timestamp()) \
             ON CONFLICT (url) DO UPDATE SET heard_at = clock_timestamp()",
        )
        .bind(&request.transcoder_url)
        .execute(&mut *tx)
        .await?;
        // Locked in one order, so that two renewals at once cannot wait for each other. An older
        // epoch changes nothing; of the present one the highest report counts.
        sqlx::query(
            "WITH asked AS ( \
                 SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[]) \
                     AS a (id, epoch, next_msn, discontinuity_seq) \
             ), held AS MATERIALIZED ( \
                 SELECT b.id FROM broadcasts b JOIN asked a ON a.id = b.id AND a.epoch = b.epoch \
                 ORDER BY b.id FOR UPDATE OF b \
             ) \
             UPDATE broadcasts b SET next_msn = GREATEST(b.next_msn, a.next_msn), \
                 discontinuity_seq = GREATEST(b.discontinuity_seq, a.discontinuity_seq), \
                 heard_at = clock_timestamp() \
             FROM asked a JOIN held h ON h.id = a.id \
             WHERE b.id = h.id AND b.epoch = a.epoch",
        )
        .bind(&ids)
        .bind(epochs)
        .bind(next_msns)
        .bind(discontinuities)
        .execute(&mut *tx)
        .await?;
        // Broadcasts of a stream share their playlists. Once a newer one has begun, an older one's
        // holder is superseded, whoever it is: its ENDLIST would end the newer one's playlists.
        let known: Vec<Word> = sqlx::query_as(
            "SELECT b.id, COALESCE(newer.epoch, b.epoch) AS epoch, \
                    newer.epoch IS NULL AND b.transcoder_url = $2 AS granted_to_you, \
                    b.ended_at IS NULL AS running \
             FROM broadcasts b LEFT JOIN LATERAL ( \
                 SELECT n.epoch FROM broadcasts n \
                 WHERE n.stream_id = b.stream_id AND n.epoch > b.epoch \
                 ORDER BY n.epoch DESC LIMIT 1) newer ON true \
             WHERE b.id = ANY($1)",
        )
        .bind(&ids)
        .bind(&request.transcoder_url)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(asked.iter().map(|held| word_on(held, &known)).collect())
    }

    /// Transcoders that renewed lately, in any order.
    pub async fn list_live_transcoders(&self) -> Result<Vec<String>, Error> {
        let urls = sqlx::query_scalar(
            "SELECT url FROM transcoders WHERE heard_at > clock_timestamp() - $1 ORDER BY random()",
        )
        .bind(interval(TRANSCODER_SILENT_AFTER))
        .fetch_all(&self.pool)
        .await?;
        Ok(urls)
    }
}

/// What the authority knows of a broadcast.
#[derive(FromRow)]
struct Word {
    #[sqlx(try_from = "Uuid")]
    id: BroadcastId,
    #[sqlx(try_from = "i64")]
    epoch: u64,
    granted_to_you: bool,
    running: bool,
}

/// A broadcast nobody knows is over: its transcoder is to let go.
fn word_on(asked: &RenewBroadcast, known: &[Word]) -> RenewedBroadcast {
    let word = known.iter().find(|word| word.id == asked.broadcast_id);
    RenewedBroadcast {
        broadcast_id: asked.broadcast_id,
        epoch: word.map_or(asked.epoch, |word| word.epoch),
        granted_to_you: word.is_some_and(|word| word.granted_to_you),
        state: match word {
            Some(word) if word.running => BroadcastState::Running,
            _ => BroadcastState::Ended,
        },
    }
}

fn knock<'a>(stream: &'a LockedStream, running: Option<&BroadcastRow>) -> Knock<'a> {
    Knock {
        // Read after every lock was had, so that no time in it lies ahead.
        now: running.map_or(stream.now, |broadcast| broadcast.now),
        key_expires_at: stream.expires_at,
        held_until: stream.held_until,
        contended_until: stream.contended_until,
        takeovers: &stream.takeovers,
        running: running.map(|broadcast| Running {
            heard_at: broadcast.heard_at,
            publisher_away: broadcast.interrupted_at.is_some(),
        }),
    }
}

async fn mark_contended(
    tx: &mut PgConnection,
    stream: StreamId,
    until: time::OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query("UPDATE streams SET contended_until = $2 WHERE id = $1")
        .bind(stream.0)
        .bind(until)
        .execute(tx)
        .await?;
    Ok(())
}

/// Goes on with a running broadcast under the next epoch.
async fn resume(
    tx: &mut PgConnection,
    held: &BroadcastRow,
    protocol: IngestProtocol,
    transcoder_url: &str,
) -> Result<Admitted, Error> {
    const SQL: &str = concat!(
        "UPDATE broadcasts SET epoch = epoch + 1, applied_seq = -1, transcoder_url = $2, \
             protocol = $3, interrupted_at = NULL, heard_at = clock_timestamp() \
         WHERE id = $1 RETURNING ",
        broadcast_columns!()
    );
    let broadcast: BroadcastRow = sqlx::query_as(SQL)
        .bind(held.id.0)
        .bind(transcoder_url)
        .bind(protocol_name(protocol))
        .fetch_one(tx)
        .await?;
    let replaced = (held.transcoder_url != transcoder_url).then(|| Holder::of(held));
    Ok(Admitted {
        authorized: authorized(broadcast, true),
        replaced,
    })
}

/// Begins a broadcast. Numbers go on rising over all broadcasts of a stream, for its playlists
/// keep their URLs. What is left to finalize of an earlier one waits until this one is live, and
/// void, or over without having been (`store/finalize.rs`).
async fn start(
    tx: &mut PgConnection,
    stream: &LockedStream,
    protocol: IngestProtocol,
    transcoder_url: &str,
) -> Result<Admitted, Error> {
    const SQL: &str = concat!(
        "INSERT INTO broadcasts (id, stream_id, user_id, title, visibility, epoch, \
             transcoder_url, protocol, next_msn, discontinuity_seq, discontinuity_seq_first, \
             created_at, heard_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, clock_timestamp(), \
                 clock_timestamp()) RETURNING ",
        broadcast_columns!()
    );
    let numbers = Numbers::after(find_last(tx, stream.id).await?.as_ref());
    let broadcast = sqlx::query_as(SQL)
        .bind(BroadcastId::new().0)
        .bind(stream.id.0)
        .bind(stream.user_id.0)
        .bind(&stream.title)
        .bind(stream.visibility.name())
        .bind(int8("epoch", numbers.epoch)?)
        .bind(transcoder_url)
        .bind(protocol_name(protocol))
        .bind(int8("next_msn", numbers.next_msn)?)
        .bind(int8("discontinuity_seq", numbers.discontinuity_seq)?)
        .fetch_one(tx)
        .await?;
    Ok(Admitted {
        authorized: authorized(broadcast, false),
        replaced: None,
    })
}

async fn find_last(tx: &mut PgConnection, stream: StreamId) -> Result<Option<BroadcastRow>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        broadcast_columns!(),
        " FROM broadcasts WHERE stream_id = $1 \
         ORDER BY epoch DESC LIMIT 1"
    );
    Ok(sqlx::query_as(SQL)
        .bind(stream.0)
        .fetch_optional(tx)
        .await?)
}

/// What a new broadcast counts from.
struct Numbers {
    epoch: u64,
    next_msn: u64,
    discontinuity_seq: u64,
}

impl Numbers {
    fn after(last: Option<&BroadcastRow>) -> Self {
        match last {
            None => Self {
                epoch: 1,
                next_msn: 1,
                discontinuity_seq: 0,
            },
            Some(last) => Self {
                epoch: last.epoch + 1,
                next_msn: last.next_msn.saturating_add(MSN_GAP),
                discontinuity_seq: last.discontinuity_seq.saturating_add(1),
            },
        }
    }
}

fn authorized(broadcast: BroadcastRow, resumed: bool) -> Authorized {
    Authorized {
        stream_id: broadcast.stream_id,
        user_id: broadcast.user_id,
        title: broadcast.title,
        broadcast_id: broadcast.id,
        epoch: broadcast.epoch,
        next_msn: broadcast.next_msn,
        discontinuity_seq: broadcast.discontinuity_seq,
        discontinuity_seq_first: broadcast.discontinuity_seq_first,
        resumed,
        ladder: broadcast.ladder.map(|ladder| ladder.0),
    }
}

const fn protocol_name(protocol: IngestProtocol) -> &'static str {
    match protocol {
        IngestProtocol::Srt => "srt",
        IngestProtocol::Rtmp => "rtmp",
    }
}
