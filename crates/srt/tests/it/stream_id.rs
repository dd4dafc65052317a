//! What is understood as a stream id.

use marquee_srt::{Reject, StreamIdError, parse_stream_id};
use proptest::prelude::*;

fn key(stream_id: &str) -> Result<&str, StreamIdError> {
    parse_stream_id(stream_id).map(|request| request.key)
}

#[test]
fn both_forms_name_the_key() {
    for stream_id in [
        "publish:KEY",
        "#!::r=KEY,m=publish",
        "#!::m=publish,r=KEY",
        "#!::u=someone,m=publish,h=host,r=KEY,t=stream",
        "#!::r=KEY,m=publish,",
    ] {
        assert_eq!(key(stream_id), Ok("KEY"), "{stream_id}");
    }
    assert_eq!(key("#!::r=a=b,m=publish"), Ok("a=b"));
    assert_eq!(key("publish:r=KEY,m=request"), Ok("r=KEY,m=request"));
}

#[test]
fn everything_else_is_refused_with_its_reason() {
    use StreamIdError::{BadField, BadKey, NoKey, NotPublish, Repeated, UnknownForm};
    for (stream_id, reason) in [
        ("", UnknownForm),
        ("KEY", UnknownForm),
        ("read:KEY", UnknownForm),
        ("Publish:KEY", UnknownForm),
        (" publish:KEY", UnknownForm),
        ("#!:{r=KEY,m=publish}", UnknownForm),
        ("publish:", NoKey),
        ("publish:a key", BadKey),
        ("publish:KEY\n", BadKey),
        ("publish:schlüssel", BadKey),
        ("#!::", NotPublish),
        ("#!::r=KEY", NotPublish),
        ("#!::r=KEY,m=request", NotPublish),
        ("#!::r=KEY,m=bidirectional", NotPublish),
        ("#!::r=KEY,m=", NotPublish),
        ("#!::m=publish", NoKey),
        ("#!::r=,m=publish", NoKey),
        ("#!::r=KEY,publish", BadField),
        ("#!::r=KEY,r=OTHER,m=publish", Repeated('r')),
        ("#!::m=request,r=KEY,m=publish", Repeated('m')),
    ] {
        assert_eq!(key(stream_id), Err(reason), "{stream_id}");
    }
}

#[test]
fn a_wrong_mode_and_a_malformed_stream_id_have_codes_of_their_own() {
    assert_eq!(Reject::from(StreamIdError::NotPublish).code(), 1405);
    assert_eq!(Reject::from(StreamIdError::UnknownForm).code(), 1400);
}

proptest! {
    #[test]
    fn no_text_whatever_makes_it_panic(stream_id in any::<String>()) {
        let _ = key(&stream_id);
    }

    #[test]
    fn nothing_behind_a_known_beginning_makes_it_panic_or_gives_an_impossible_key(
        form in prop::sample::select(vec!["publish:", "#!::", "#!::m=publish,", "#!::r="]),
        rest in r"[=,:rm#! a-z\PC]{0,40}",
    ) {
        if let Ok(key) = key(&format!("{form}{rest}")) {
            prop_assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn any_key_comes_back_from_either_form_among_any_other_fields(
        wanted in "[A-Za-z0-9_-]{1,128}",
        mut fields in prop::collection::vec("[a-ln-qs-z]{1,3}=[a-z0-9=:/]{0,8}", 0..5),
        at in any::<[prop::sample::Index; 2]>(),
    ) {
        fields.insert(at[0].index(fields.len() + 1), format!("r={wanted}"));
        fields.insert(at[1].index(fields.len() + 1), "m=publish".to_owned());
        let standard = format!("#!::{}", fields.join(","));
        prop_assert_eq!(key(&standard), Ok(wanted.as_str()));
        let plain = format!("publish:{wanted}");
        prop_assert_eq!(key(&plain), Ok(wanted.as_str()));
    }

    #[test]
    fn neither_an_answer_nor_an_error_shows_the_key(
        secret in "[A-Z]{12}",
        form in prop::sample::select(vec!["publish:KEY", "publish:KEY ", "x:KEY", "#!::r=KEY", "#!::r=KEY,m=publish", "#!::KEY"]),
    ) {
        let stream_id = form.replace("KEY", &secret);
        let shown = match parse_stream_id(&stream_id) {
            Ok(request) => format!("{request:?}"),
            Err(error) => format!("{error:?} {error}"),
        };
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}
