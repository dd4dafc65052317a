//! What the payload of an audio or video message is: an FLV tag's body (Adobe's "FLV specification"
//! 10.1, annex E) or its enhanced form ("Enhanced RTMP" 1).

/// Why media is of no use to us. The text goes to the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// A video codec that is not taken.
    #[error("{0} video is not supported; send H.264 or H.265")]
    Video(&'static str),
    /// An audio codec that is not taken.
    #[error("{0} audio is not supported; send AAC")]
    Audio(&'static str),
    /// A form of AAC that has no ADTS header.
    #[error("this form of AAC is not supported; send AAC-LC with up to 8 channels")]
    AacForm,
    /// A track beside the first one, or a form that only such tracks use.
    #[error("only one {0} track is taken, in its plain form")]
    ExtraTrack(&'static str),
    /// The encoder wrote something else than it should.
    #[error("{0}")]
    Damaged(&'static str),
}

/// Video codecs that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VideoCodec {
    H264,
    Hevc,
}

/// A video message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VideoTag<'a> {
    /// The decoder's configuration record.
    Config(VideoCodec, &'a [u8]),
    Frame(VideoFrame<'a>),
    /// Nothing to decode.
    Nothing,
}

/// A picture as it stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VideoFrame<'a> {
    pub(crate) codec: VideoCodec,
    pub(crate) keyframe: bool,
    /// How long after decoding it is shown.
    pub(crate) composition_ms: i32,
    /// NAL units with their lengths in front.
    pub(crate) data: &'a [u8],
}

/// An audio message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudioTag<'a> {
    /// The `AudioSpecificConfig`.
    Config(&'a [u8]),
    /// A raw AAC frame.
    Frame(&'a [u8]),
    /// Nothing to decode.
    Nothing,
}

const CUT_OFF: MediaError = MediaError::Damaged("a media message is cut off");

pub(crate) fn video_tag(payload: &[u8]) -> Result<VideoTag<'_>, MediaError> {
    let Some((&head, rest)) = payload.split_first() else {
        return Ok(VideoTag::Nothing);
    };
    let frame_type = head >> 4 & 0x07;
    if frame_type == 5 {
        // A command to a Flash player.
        return Ok(VideoTag::Nothing);
    }
    let keyframe = frame_type == 1;
    if head & 0x80 != 0 {
        return enhanced_video(head & 0x0f, keyframe, rest);
    }
    match head & 0x0f {
        7 => {}
        2 => return Err(MediaError::Video("Sorenson H.263")),
        4 | 5 => return Err(MediaError::Video("VP6")),
        // Not in the specification, but sent by some.
        12 => {
            return Err(MediaError::Video(
                "H.265 as codec id 12 (not enhanced RTMP)",
            ));
        }
        _ => return Err(MediaError::Video("this kind of")),
    }
    let (&packet, rest) = rest.split_first().ok_or(CUT_OFF)?;
    if packet > 1 {
        // The end of a sequence, which some write without a time.
        return Ok(VideoTag::Nothing);
    }
    let (time, data) = rest.split_first_chunk::<3>().ok_or(CUT_OFF)?;
    Ok(match packet {
        0 => VideoTag::Config(VideoCodec::H264, data),
        _ => VideoTag::Frame(VideoFrame {
            codec: VideoCodec::H264,
            keyframe,
            composition_ms: signed24(*time),
            data,
        }),
    })
}

fn enhanced_video(packet: u8, keyframe: bool, rest: &[u8]) -> Result<VideoTag<'_>, MediaError> {
    if packet > 5 {
        return Err(MediaError::ExtraTrack("video"));
    }
    let (four_cc, data) = rest.split_first_chunk::<4>().ok_or(CUT_OFF)?;
    let codec = match four_cc {
        b"hvc1" => VideoCodec::Hevc,
        b"avc1" => VideoCodec::H264,
        b"av01" => return Err(MediaError::Video("AV1")),
        b"vp09" => return Err(MediaError::Video("VP9")),
        _ => return Err(MediaError::Video("this kind of")),
    };
    let frame = |composition_ms, data| {
        VideoTag::Frame(VideoFrame {
            codec,
            keyframe,
            composition_ms,
            data,
        })
    };
    Ok(match packet {
        0 => VideoTag::Config(codec, data),
        1 => {
            let (time, data) = data.split_first_chunk::<3>().ok_or(CUT_OFF)?;
            frame(signed24(*time), data)
        }
        3 => frame(0, data),
        _ => VideoTag::Nothing,
    })
}

pub(crate) fn audio_tag(payload: &[u8]) -> Result<AudioTag<'_>, MediaError> {
    let Some((&head, rest)) = payload.split_first() else {
        return Ok(AudioTag::Nothing);
    };
    match head >> 4 {
        10 => {}
        2 | 14 => return Err(MediaError::Audio("MP3")),
        0 | 3 => return Err(MediaError::Audio("PCM")),
        7 | 8 => return Err(MediaError::Audio("G.711")),
        11 => return Err(MediaError::Audio("Speex")),
        9 if head & 0x0f > 3 => return Err(MediaError::ExtraTrack("audio")),
        9 => return Err(MediaError::Audio("enhanced RTMP (Opus, AC-3 or FLAC)")),
        _ => return Err(MediaError::Audio("this kind of")),
    }
    let (&packet, data) = rest.split_first().ok_or(CUT_OFF)?;
    Ok(match packet {
        // ffmpeg sends an empty one when it copies from ADTS, and the right one a moment later.
        0 if !data.is_empty() => AudioTag::Config(data),
        1 if !data.is_empty() => AudioTag::Frame(data),
        _ => AudioTag::Nothing,
    })
}

fn signed24([high, middle, low]: [u8; 3]) -> i32 {
    i32::from_be_bytes([high, middle, low, 0]) >> 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = (video_tag(&bytes), audio_tag(&bytes));
        }
    }

    #[test]
    fn a_picture_may_be_shown_before_its_time_of_decoding() {
        let VideoTag::Frame(frame) = video_tag(&[0x17, 1, 0xff, 0xff, 0xd6, 9])
            .ok()
            .into_iter()
            .next()
            .unwrap_or(VideoTag::Nothing)
        else {
            panic!("no frame");
        };
        assert_eq!((frame.composition_ms, frame.keyframe), (-42, true));
    }

    #[test]
    fn an_empty_sequence_header_and_an_end_of_sequence_are_nothing() {
        assert_eq!(audio_tag(&[0xaf, 0]), Ok(AudioTag::Nothing));
        assert_eq!(video_tag(&[0x27, 2]), Ok(VideoTag::Nothing));
        assert_eq!(video_tag(&[0x17, 2, 0, 0, 0]), Ok(VideoTag::Nothing));
    }

    #[test]
    fn tracks_beside_the_first_are_known_as_such() {
        let further_sound = [0x95, 0x00, b'm', b'p', b'4', b'a', 1, 0x21];
        assert_eq!(
            audio_tag(&further_sound),
            Err(MediaError::ExtraTrack("audio"))
        );
        let further_picture = [0x96, 0x00, b'a', b'v', b'c', b'1', 1, 0x21];
        assert_eq!(
            video_tag(&further_picture),
            Err(MediaError::ExtraTrack("video"))
        );
    }

    #[test]
    fn codecs_that_are_not_taken_are_named() {
        let av1 = [0x90, b'a', b'v', b'0', b'1'];
        assert_eq!(video_tag(&av1), Err(MediaError::Video("AV1")));
        assert_eq!(
            video_tag(&[0x12, 0]),
            Err(MediaError::Video("Sorenson H.263"))
        );
        assert_eq!(audio_tag(&[0x2f, 0]), Err(MediaError::Audio("MP3")));
        assert!(matches!(
            audio_tag(&[0x90, b'O', b'p', b'u', b's']),
            Err(MediaError::Audio(_))
        ));
    }
}
