//! Master playlists.

use std::fmt::Write as _;

use super::{PlaylistError, VERSION, check_length};

/// A master playlist.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterPlaylist {
    /// The renditions, highest first.
    pub variants: Vec<Variant>,
}

/// A rendition as a player chooses it (RFC 8216 section 4.3.4.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// URI of its media playlist, relative to the master.
    pub uri: String,
    /// Peak segment bit rate, bits a second.
    pub bandwidth: u64,
    /// Average segment bit rate, bits a second; 0 is left out.
    pub average_bandwidth: u64,
    /// RFC 6381 codecs, joined by commas.
    pub codecs: String,
    /// Width and height in pixels; `None` for sound alone.
    pub resolution: Option<(u32, u32)>,
    /// Frames a second; `None` for sound alone. Written with three decimals.
    pub frame_rate: Option<f64>,
}

impl MasterPlaylist {
    /// The text.
    pub fn write(&self) -> String {
        let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-INDEPENDENT-SEGMENTS\n");
        for variant in &self.variants {
            // Writing to a String cannot fail.
            let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={}", variant.bandwidth);
            if variant.average_bandwidth > 0 {
                let _ = write!(text, ",AVERAGE-BANDWIDTH={}", variant.average_bandwidth);
            }
            let _ = write!(text, ",CODECS=\"{}\"", variant.codecs);
            if let Some((width, height)) = variant.resolution {
                let _ = write!(text, ",RESOLUTION={width}x{height}");
            }
            if let Some(rate) = variant.frame_rate {
                let _ = write!(text, ",FRAME-RATE={rate:.3}");
            }
            let _ = writeln!(text, "\n{}", variant.uri);
        }
        text
    }

    /// Reads back what [`MasterPlaylist::write`] wrote.
    pub fn parse(text: &str) -> Result<Self, PlaylistError> {
        check_length(text)?;
        let mut variants = Vec::new();
        let mut pending: Option<Variant> = None;
        for (index, line) in text.lines().enumerate() {
            let error = |problem| PlaylistError {
                line: index + 1,
                problem,
            };
            if index == 0 {
                if line != "#EXTM3U" {
                    return Err(error("expected #EXTM3U"));
                }
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-STREAM-INF:") {
                pending = Some(variant(attributes).map_err(error)?);
            } else if !line.starts_with('#') {
                let mut variant = pending
                    .take()
                    .ok_or(error("a URI without EXT-X-STREAM-INF"))?;
                line.clone_into(&mut variant.uri);
                variants.push(variant);
            }
        }
        Ok(Self { variants })
    }
}

fn variant(attributes: &str) -> Result<Variant, &'static str> {
    let mut variant = Variant {
        uri: String::new(),
        bandwidth: 0,
        average_bandwidth: 0,
        codecs: String::new(),
        resolution: None,
        frame_rate: None,
    };
    let mut rest = attributes;
    while !rest.is_empty() {
        let (name, value, next) = attribute(rest)?;
        match name {
            "BANDWIDTH" => variant.bandwidth = number(value)?,
            "AVERAGE-BANDWIDTH" => variant.average_bandwidth = number(value)?,
            "CODECS" => value.clone_into(&mut variant.codecs),
            "FRAME-RATE" => variant.frame_rate = Some(number(value)?),
            "RESOLUTION" => {
                let (width, height) = value.split_once('x').ok_or("expected WIDTHxHEIGHT")?;
                variant.resolution = Some((number(width)?, number(height)?));
            }
            _ => return Err("an attribute that we never write"),
        }
        rest = next;
    }
    if variant.bandwidth == 0 {
        return Err("BANDWIDTH is required");
    }
    Ok(variant)
}

/// The first attribute of a list, and what follows it (RFC 8216 section 4.2).
fn attribute(list: &str) -> Result<(&str, &str, &str), &'static str> {
    let (name, after) = list.split_once('=').ok_or("expected NAME=VALUE")?;
    let (value, rest) = match after.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("an unclosed quote")?,
        None => after.split_at(after.find(',').unwrap_or(after.len())),
    };
    let rest = match rest.strip_prefix(',') {
        Some(rest) => rest,
        None if rest.is_empty() => rest,
        None => return Err("expected a comma"),
    };
    Ok((name, value, rest))
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, &'static str> {
    text.parse().map_err(|_| "not a number")
}
