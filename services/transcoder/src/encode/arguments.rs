//! The ffmpeg command line of an [`EncodePlan`].
//!
//! Every flag here was measured; the reasons stand beside those that are not plain.

use crate::ladder::{
    AUDIO_KBPS, EncodePlan, Keyframes, OutputVideo, Picture, Sound, Thumbnail, buffer_kbit,
    max_rate_kbps,
};

use crate::source::LARGEST_STEP_SECONDS;

/// The child's descriptor of the first output; the others follow, and the progress pipe last.
pub(super) const FIRST_FD: i32 = 3;

/// Media seconds between two live thumbnails.
pub const THUMBNAIL_SECONDS: u32 = 10;

/// Samples a second of each audio track that is made.
pub(super) const AUDIO_RATE: u32 = 48_000;

/// The child's descriptor of the progress pipe.
pub(super) fn progress_fd(plan: &EncodePlan) -> i32 {
    output_fd(plan.outputs.len())
}

/// The child's descriptor of the live thumbnail's pipe.
pub(super) fn thumbnail_fd(plan: &EncodePlan) -> i32 {
    output_fd(plan.outputs.len() + 1)
}

/// The child's descriptor of an output.
fn output_fd(index: usize) -> i32 {
    i32::try_from(index).map_or(i32::MAX, |index| FIRST_FD + index)
}

/// Arguments of ffmpeg, without the program's name.
pub fn ffmpeg_arguments(plan: &EncodePlan) -> Vec<String> {
    let mut args = Arguments::default();
    args.add("-hide_banner -nostdin -nostats -loglevel level+warning -stats_period 1");
    args.pair("-progress", format!("pipe:{}", progress_fd(plan)));
    // The defaults probe for 5 s, and with them the first playlist comes 3 s later. `-fflags
    // nobuffer` would be faster still, but drops the first GOP.
    args.add("-probesize 1000000 -analyzeduration 500000");
    args.pair("-dts_delta_threshold", LARGEST_STEP_SECONDS.to_string());
    args.add("-protocol_whitelist pipe -f mpegts -i pipe:0");
    for graph in filter_graphs(plan) {
        args.pair("-filter_complex", graph);
    }
    for (index, output) in plan.outputs.iter().enumerate() {
        add_output(&mut args, plan, index, output.video);
    }
    if plan.thumbnail.is_some() {
        add_thumbnail(&mut args, plan);
    }
    args.0
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    /// Adds words that contain no space.
    fn add(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(str::to_owned));
    }

    fn pair(&mut self, name: &str, value: String) {
        self.0.push(name.to_owned());
        self.0.push(value);
    }
}

fn add_output(args: &mut Arguments, plan: &EncodePlan, index: usize, video: OutputVideo) {
    match video {
        OutputVideo::Copied { .. } => args.add("-map 0:v:0 -c:v copy"),
        OutputVideo::Encoded { kbps, .. } => {
            args.pair("-map", format!("[v{index}]"));
            add_encoder(args, plan.keyframes, kbps);
        }
        OutputVideo::None => {}
    }
    // Silence is put in behind ffmpeg.
    if plan.sound == Sound::Source {
        args.add("-map 0:a:0");
        args.pair("-c:a", "aac".to_owned());
        args.pair("-b:a", format!("{AUDIO_KBPS}k"));
        args.pair("-ar", AUDIO_RATE.to_string());
        args.add("-ac 2");
    }
    if plan.picture == Picture::Black {
        // What is made up never ends by itself.
        args.add("-shortest");
    }
    // One PES a packet and no waiting for the other track: 100 ms instead of 170 through the muxer,
    // and a vanished audio track stalls nothing (10 s without). Timestamps as the source has them,
    // or sources with B-frames shift the copied against the encoded rungs; 10 s on, so that none
    // is below zero.
    args.add("-pes_payload_size 0 -max_interleave_delta 1");
    args.add("-avoid_negative_ts disabled -output_ts_offset 10");
    args.add("-map_metadata -1 -f mpegts");
    args.0.push(format!("pipe:{}", output_fd(index)));
}

fn add_encoder(args: &mut Arguments, keyframes: Keyframes, kbps: u32) {
    // `:v` throughout: without it `-preset` would go to the audio encoder as well.
    args.add("-c:v libx264 -preset:v superfast -tune:v zerolatency -sc_threshold:v 0 -g:v 600");
    args.pair(
        "-force_key_frames:v",
        match keyframes {
            Keyframes::AsSource => "source".to_owned(),
            // Counted from the last one, not from the start: a gap must not be followed by a burst.
            // Not quite 2 s, because the times compared are floats a rounding error apart.
            Keyframes::EveryTwoSeconds => {
                "expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+1.995))".to_owned()
            }
        },
    );
    args.pair("-b:v", format!("{kbps}k"));
    args.pair("-maxrate:v", format!("{}k", max_rate_kbps(kbps)));
    args.pair("-bufsize:v", format!("{}k", buffer_kbit(kbps)));
    // Rungs drift apart at gaps in the source without these two.
    args.add("-fps_mode:v passthrough -enc_time_base:v 1:90000");
}

fn add_thumbnail(args: &mut Arguments, plan: &EncodePlan) {
    // One thread: with more, each picture would wait for as many later ones, ten seconds apart.
    args.add("-map [thumbnail] -c:v mjpeg -q:v 5 -threads:v 1");
    // Full range by its flag. The pixel format that means the same is deprecated, and ffmpeg says so a
    // dozen times in the log that is kept for its last words.
    args.add("-color_range:v pc -strict:v unofficial");
    args.add("-fps_mode:v passthrough -enc_time_base:v 1:90000");
    args.add("-map_metadata -1 -flush_packets 1 -f mjpeg");
    args.0.push(format!("pipe:{}", thumbnail_fd(plan)));
}

fn filter_graphs(plan: &EncodePlan) -> Vec<String> {
    let encoded: Vec<(usize, u32, u32)> = plan
        .outputs
        .iter()
        .enumerate()
        .filter_map(|(index, output)| match output.video {
            OutputVideo::Encoded { width, height, .. } => Some((index, width, height)),
            OutputVideo::Copied { .. } | OutputVideo::None => None,
        })
        .collect();
    let thumbnail = plan.thumbnail.as_ref();
    let mut graphs = Vec::new();
    match plan.picture {
        Picture::Source if !encoded.is_empty() => {
            graphs.push(scaling_cascade(&encoded, thumbnail));
        }
        Picture::Source => graphs.extend(thumbnail.map(|it| picture_taker("0:v:0", it))),
        Picture::Black => graphs.extend(encoded.iter().map(|(index, width, height)| {
            format!("color=c=black:s={width}x{height}:r=30,format=yuv420p[v{index}]")
        })),
        Picture::None => {}
    }
    graphs
}

/// Each picture is scaled from the next larger one: a fifth cheaper than each from the source. The
/// thumbnail is taken from the one it fits best.
fn scaling_cascade(encoded: &[(usize, u32, u32)], thumbnail: Option<&Thumbnail>) -> String {
    let mut steps = Vec::with_capacity(encoded.len() + 1);
    let mut from = "0:v:0".to_owned();
    for (position, (index, width, height)) in encoded.iter().enumerate() {
        let scale = format!("[{from}]scale={width}:{height}:flags=bilinear,format=yuv420p");
        let mut takers = vec![format!("[v{index}]")];
        if position + 1 < encoded.len() {
            from = format!("c{index}");
            takers.push(format!("[{from}]"));
        }
        let tapped = thumbnail.filter(|thumbnail| thumbnail.from_output == Some(*index));
        if tapped.is_some() {
            takers.push("[t]".to_owned());
        }
        let split = match takers.len() {
            1 => String::new(),
            count => format!(",split={count}"),
        };
        steps.push(format!("{scale}{split}{}", takers.concat()));
        steps.extend(tapped.map(|thumbnail| picture_taker("t", thumbnail)));
    }
    steps.join(";")
}

/// Takes the first picture, and then one each [`THUMBNAIL_SECONDS`] (the times compared are floats),
/// also after a clock that was set back. JPEG has the full range of values.
fn picture_taker(from: &str, thumbnail: &Thumbnail) -> String {
    let Thumbnail { width, height, .. } = thumbnail;
    let due = f64::from(THUMBNAIL_SECONDS) - 0.005;
    format!(
        "[{from}]select='isnan(prev_selected_t)+lt(t,prev_selected_t)+gte(t,prev_selected_t+{due})',\
         scale={width}:{height}:flags=bilinear:out_range=full,format=yuv420p[thumbnail]"
    )
}

#[cfg(test)]
mod tests;
