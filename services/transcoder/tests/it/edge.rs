//! The live edge over real sockets: what a low-latency client is told, from the first part to the end.

mod answers;
mod five_minutes;
mod live;
mod routing;
mod slow_client;
mod storage_away;
mod takeover;
mod thousand_viewers;
mod world;
