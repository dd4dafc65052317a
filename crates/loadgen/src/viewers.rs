//! Low-latency HLS viewers: each holds a reload until the next part is there, then fetches it, as
//! hls.js does.
//!
//! All run on one thread that waits for all sockets together: thousands of them are one load, and
//! leave the other cores to what is measured. How late a reload was answered is counted from the end
//! of its part by the playlist's dates, on this machine's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    time::{Instant, sleep, timeout},
};

use crate::{
    http::{Head, HttpError, Target},
    report::{percentile, precise},
};

const PATIENCE: Duration = Duration::from_secs(30);
const BUFFER: usize = 64 * 1024;

/// How many, of what, for how long.
#[derive(Clone, Debug)]
pub struct Audience {
    /// A rendition's playlist.
    pub url: String,
    /// Viewers, with a connection each.
    pub viewers: u32,
    /// Not counted; they come one after the other meanwhile.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
}

/// What they saw.
#[derive(Debug, Serialize)]
pub struct AudienceReport {
    /// Answered reloads, a second.
    pub reloads_per_s: f64,
    /// Megabytes a second, heads included.
    pub megabytes_per_s: f64,
    /// How late reloads were answered, in microseconds: median, 99 %, the latest.
    pub reload_p50_us: u32,
    /// 99 % are at most this.
    pub reload_p99_us: u32,
    /// The latest.
    pub reload_max_us: u32,
    /// How long a part took after that, in microseconds: 99 % are at most this.
    pub part_p99_us: u32,
    /// Requests that were not answered with 200.
    pub failures: u64,
}

/// What a playlist says of its times and names. Segments and parts are all of one length in what is
/// prerecorded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Timetable {
    first_msn: u64,
    first_ms: u64,
    segment_ms: u64,
    part_us: u64,
    parts: u64,
    /// What a part's name begins with: all before the number of its segment.
    prefix: String,
    /// What comes next.
    next: (u64, u64),
}

#[derive(Default)]
struct Seen {
    reloads_us: Vec<u32>,
    parts_us: Vec<u32>,
    bytes: u64,
    failures: u64,
}

impl Audience {
    /// Watches.
    pub fn run(&self) -> Result<AudienceReport, HttpError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let seen = runtime.block_on(self.watch())?;
        let mut all = Seen::default();
        for one in seen {
            all.reloads_us.extend(one.reloads_us);
            all.parts_us.extend(one.parts_us);
            all.bytes += one.bytes;
            all.failures += one.failures;
        }
        all.reloads_us.sort_unstable();
        all.parts_us.sort_unstable();
        let seconds = self.duration.as_secs_f64();
        Ok(AudienceReport {
            reloads_per_s: precise(all.reloads_us.len() as u64) / seconds,
            megabytes_per_s: precise(all.bytes) / seconds / 1e6,
            reload_p50_us: percentile(&all.reloads_us, 500),
            reload_p99_us: percentile(&all.reloads_us, 990),
            reload_max_us: percentile(&all.reloads_us, 1000),
            part_p99_us: percentile(&all.parts_us, 990),
            failures: all.failures,
        })
    }

    async fn watch(&self) -> Result<Vec<Seen>, HttpError> {
        let target = Target::parse(&self.url)?;
        let counts_from = Instant::now() + self.warm_up;
        let ends = counts_from + self.duration;
        let tasks: Vec<_> = (0..self.viewers)
            .map(|number| {
                let target = target.clone();
                // All are there when half of the warm-up is over.
                let comes = self.warm_up * number / self.viewers.max(1) / 2;
                tokio::spawn(async move {
                    sleep(comes).await;
                    view(&target, counts_from, ends).await
                })
            })
            .collect();
        let mut seen = Vec::new();
        for task in tasks {
            let one = task.await.map_err(std::io::Error::other)?;
            seen.push(one?);
        }
        Ok(seen)
    }
}

async fn view(target: &Target, counts_from: Instant, ends: Instant) -> Result<Seen, HttpError> {
    let mut connection = Connection::open(target).await?;
    connection
        .exchange(&target.get_request("", "identity"))
        .await?;
    let table = Timetable::read(&String::from_utf8_lossy(connection.body()))?;
    let (mut msn, mut part) = table.next;
    let mut seen = Seen::default();
    while Instant::now() < ends {
        let query = format!("?_HLS_msn={msn}&_HLS_part={part}&_HLS_skip=YES");
        let reload = target.get_request(&query, "gzip");
        let (status, bytes) = connection.exchange(&reload).await?;
        let is_counted = Instant::now() >= counts_from;
        let late_us = now_us().saturating_sub(table.due_us(msn, part));
        let asked = Instant::now();
        let name = format!("{}{msn:09}.{part}.ts", table.prefix);
        let fetched = connection.exchange(&target.sibling_request(&name)).await?;
        if is_counted {
            seen.reloads_us
                .push(u32::try_from(late_us).unwrap_or(u32::MAX));
            let took_us = asked.elapsed().as_micros();
            seen.parts_us
                .push(u32::try_from(took_us).unwrap_or(u32::MAX));
            seen.bytes += (bytes + fetched.1) as u64;
            seen.failures += u64::from(status != 200) + u64::from(fetched.0 != 200);
        }
        part += 1;
        if part == table.parts {
            (msn, part) = (msn + 1, 0);
        }
    }
    Ok(seen)
}

impl Timetable {
    /// Of a playlist with at least one whole segment.
    fn read(text: &str) -> Result<Self, HttpError> {
        let mut table = Self {
            first_msn: 0,
            first_ms: 0,
            segment_ms: 0,
            part_us: 0,
            parts: 0,
            prefix: String::new(),
            next: (0, 0),
        };
        let (mut whole, mut open) = (0, 0);
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-MEDIA-SEQUENCE" => table.first_msn = value.parse().unwrap_or(0),
                "#EXT-X-PROGRAM-DATE-TIME" if table.first_ms == 0 => {
                    table.first_ms = unix_ms(value).unwrap_or(0);
                }
                "#EXTINF" => {
                    table.segment_ms = micros(value.trim_end_matches(',')) / 1000;
                    (whole, table.parts, open) = (whole + 1, open, 0);
                }
                "#EXT-X-PART" => {
                    open += 1;
                    let attribute = |name| {
                        let rest = value.split_once(name)?.1;
                        rest.split([',', '"']).find(|text| !text.is_empty())
                    };
                    table.part_us = micros(attribute("DURATION=").unwrap_or_default());
                    let uri = attribute("URI=").unwrap_or_default();
                    let number = uri.rfind('-').map_or(0, |dash| dash + 1);
                    uri[..number].clone_into(&mut table.prefix);
                }
                _ => {}
            }
        }
        let newest = table.first_msn + whole;
        // All parts may be there a moment before their segment is listed as whole.
        table.next = if table.parts > 0 && open == table.parts {
            (newest + 1, 0)
        } else {
            (newest, open)
        };
        if table.first_ms == 0 || table.parts == 0 || table.prefix.is_empty() {
            return Err(HttpError::Answer(
                "no low-latency playlist with a whole segment".into(),
            ));
        }
        Ok(table)
    }

    /// When a part's time is over.
    fn due_us(&self, msn: u64, part: u64) -> u64 {
        let segment_ms = self.first_ms + (msn - self.first_msn) * self.segment_ms;
        segment_ms * 1000 + (part + 1) * self.part_us
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    body: std::ops::Range<usize>,
}

impl Connection {
    async fn open(target: &Target) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(target.authority()).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER],
            body: 0..0,
        })
    }

    /// Sends a request and reads its answer; the status and the length.
    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, usize), HttpError> {
        let silent = |_| HttpError::Answer("no answer in time".into());
        timeout(PATIENCE, self.exchange_now(request))
            .await
            .map_err(silent)?
    }

    async fn exchange_now(&mut self, request: &[u8]) -> Result<(u16, usize), HttpError> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let mut head: Option<Head> = None;
        loop {
            if let Some(head) = &head
                && filled >= head.whole_bytes()
            {
                self.body = head.whole_bytes() - head.body_bytes()..head.whole_bytes();
                return Ok((head.status(), head.whole_bytes()));
            }
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            filled += read;
            if head.is_none() {
                head = Head::parse(&self.buffer[..filled])?;
            }
        }
    }

    fn body(&self) -> &[u8] {
        &self.buffer[self.body.clone()]
    }
}

/// Of decimal seconds; 0 of anything else.
fn micros(seconds: &str) -> u64 {
    let seconds = seconds.parse().unwrap_or(0.0);
    let micros = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(micros.as_micros()).unwrap_or_default()
}

fn now_us() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

/// `2026-11-21T03:22:21.040Z` as the edge writes it.
fn unix_ms(date: &str) -> Option<u64> {
    let field = |range: std::ops::Range<usize>| date.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    // Days since 1970 by the civil calendar, with the year beginning in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let days = days.checked_sub(719_469)?;
    let seconds = days * 86_400 + field(11..13)? * 3600 + field(14..16)? * 60 + field(17..19)?;
    Some(seconds * 1000 + field(20..23)?)
}

#[cfg(test)]
mod tests {
    use super::{Timetable, unix_ms};

    #[test]
    fn a_date_is_read_as_it_is_written() {
        assert_eq!(unix_ms("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(unix_ms("2000-02-29T12:00:00.001Z"), Some(951_825_600_001));
        assert_eq!(unix_ms("2026-11-25T09:50:38.543Z"), Some(1_795_600_238_543));
        assert_eq!(unix_ms("yesterday"), None);
    }

    #[test]
    fn what_follows_the_last_part_of_a_segment_is_the_next_segments_first() {
        let part = |msn, part| {
            format!("#EXT-X-PART:DURATION=1.00000,URI=\"0a-000001-00000000{msn}.{part}.ts\"\n")
        };
        let text = format!(
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n\
             #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:10.000Z\n\
             {}{}#EXTINF:2.000,\n0a-000001-000000007-10000-2000.ts\n{}{}",
            part(7, 0),
            part(7, 1),
            part(8, 0),
            part(8, 1)
        );
        let table = Timetable::read(&text);
        assert_eq!(table.ok().map(|table| table.next), Some((9, 0)));
    }

    #[test]
    fn a_playlist_tells_what_comes_next_and_when() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:10.000Z\n\
            #EXT-X-PART:DURATION=1.00000,URI=\"0a-000001-000000007.0.ts\",INDEPENDENT=YES\n\
            #EXT-X-PART:DURATION=1.00000,URI=\"0a-000001-000000007.1.ts\"\n\
            #EXTINF:2.000,\n0a-000001-000000007-10000-2000.ts\n\
            #EXT-X-PART:DURATION=1.00000,URI=\"0a-000001-000000008.0.ts\",INDEPENDENT=YES\n";
        let table = Timetable::read(text);
        let table = table.as_ref().ok();
        assert_eq!(table.map(|table| table.next), Some((8, 1)));
        assert_eq!(table.map(|table| table.prefix.as_str()), Some("0a-000001-"));
        assert_eq!(table.map(|table| table.due_us(8, 1)), Some(14_000_000));
        assert!(Timetable::read("#EXTM3U\n").is_err());
    }
}
