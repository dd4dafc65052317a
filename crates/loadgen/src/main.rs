//! HTTP load at a fixed rate, for benchmarks (docs/adr/0016).
//!
//! A generator that sends its next request when the last one is answered slows down together with
//! what it measures, and so misses the very delays that a p99 is about. This one has a timetable:
//! each request counts from when it was due. One thread a connection, blocking sockets, nothing
//! shared: what it costs is small and the same for every server that is compared.

mod hash;
mod http;
mod load;
mod report;
mod viewers;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{hash::Hashing, load::Load, viewers::Audience};

/// Load for benchmarks; the result is one JSON object on standard output
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Requests to one URL
    Http {
        /// Where to (`http://127.0.0.1:8080/api/streams/public`)
        url: String,
        /// Connections, each with one request at a time
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
        connections: u32,
        /// Requests a second, all connections together; without it as many as are answered
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// How long requests are counted
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// How long they are sent before that
        #[arg(long, default_value_t = 1)]
        warm_up_s: u64,
        /// A JSON body: POST instead of GET; with several of them, in turn
        #[arg(long = "post", value_name = "BODY")]
        bodies: Vec<String>,
    },
    /// Low-latency HLS viewers of one rendition, all on one thread
    Viewers {
        /// The rendition's playlist
        url: String,
        /// How many, with a connection each
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        viewers: u32,
        /// How long they are counted
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// In how long they come, before that
        #[arg(long, default_value_t = 4)]
        warm_up_s: u64,
    },
    /// bcrypt alone, on so many threads
    Bcrypt {
        /// 2^cost rounds
        #[arg(long, value_parser = clap::value_parser!(u32).range(4..=31))]
        cost: u32,
        /// Comparisons at a time
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
        threads: u32,
        /// For how long
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().what {
        What::Http {
            url,
            connections,
            rate,
            seconds,
            warm_up_s,
            bodies,
        } => Load {
            url,
            connections,
            rate,
            warm_up: Duration::from_secs(warm_up_s),
            duration: Duration::from_secs(seconds),
            bodies,
        }
        .run()
        .map(|report| serde_json::json!(report)),
        What::Viewers {
            url,
            viewers,
            seconds,
            warm_up_s,
        } => Audience {
            url,
            viewers,
            warm_up: Duration::from_secs(warm_up_s),
            duration: Duration::from_secs(seconds),
        }
        .run()
        .map(|report| serde_json::json!(report)),
        What::Bcrypt {
            cost,
            threads,
            seconds,
        } => Hashing {
            cost,
            threads,
            duration: Duration::from_secs(seconds),
        }
        .run()
        .map(|report| serde_json::json!(report)),
    };
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}
