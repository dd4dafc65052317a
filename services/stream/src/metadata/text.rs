//! Which characters may stand in a title, a label or a description.
//!
//! Titles of strangers stand beside each other in a list: none may be empty to the eye, and none
//! may turn or hide what stands around it. All scripts pass, and so do emoji.

/// Takes what shows nothing from both ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Why a text may not be one line of a list; `None` if it may.
pub fn fault_in_line(text: &str) -> Option<String> {
    let mut after_flag = false;
    for character in text.chars() {
        let of_flag = after_flag && is_tag(character);
        if breaks_line(character) || (is_format(character) && !of_flag) {
            return Some(refusal(character));
        }
        after_flag = character == BLACK_FLAG || of_flag;
    }
    let visible = text.chars().any(|character| {
        !is_blank(character) && !shapes_neighbours(character) && !is_tag(character)
    });
    (!visible).then(|| "must have a visible character".to_owned())
}

/// Why a text may not be a description; `None` if it may. What hides in a running text, or marks
/// its direction softly, disguises nothing in a list.
pub fn fault_in_text(text: &str) -> Option<String> {
    let refused =
        |character: &char| breaks_line(*character) && !matches!(character, '\n' | '\r' | '\t');
    text.chars().find(refused).map(refusal)
}

fn refusal(character: char) -> String {
    format!(
        "must not have the control or invisible character U+{:04X}",
        u32::from(character)
    )
}

/// Controls, line and paragraph separators, and what turns the direction of the text around it.
fn breaks_line(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Shows nothing and takes the room of a space, or none: white space, the fillers of Hangul and the
/// empty pattern of Braille.
fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
        )
}

/// Shows nothing itself, but belongs to how its neighbours are written: zero width joiners
/// (Persian, Indic scripts, families of emoji), variation selectors, the combining grapheme joiner.
fn shapes_neighbours(character: char) -> bool {
    matches!(
        character,
        '\u{200c}' | '\u{200d}' | '\u{34f}' | '\u{180b}'..='\u{180d}' | '\u{180f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Flags of England, Scotland and Wales are a black flag and tags (UTS 51, section 1.4.6).
const BLACK_FLAG: char = '\u{1f3f4}';

fn is_tag(character: char) -> bool {
    matches!(character, '\u{e0020}'..='\u{e007f}')
}

/// The rest of Unicode's format characters (general category Cf, Unicode 16) that show nothing:
/// without the signs that enclose digits in Arabic, Syriac and Kaithi, which do. And two Khmer vowels
/// that are not written.
fn is_format(character: char) -> bool {
    is_tag(character)
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'
                | '\u{200e}' | '\u{200f}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
                | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e001f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_script_and_every_emoji_is_a_line() {
        for text in [
            "Chess",
            "Шахи 👩‍💻",
            "שלום",
            "مرحبا",
            "日本語",
            "e\u{301}",
            "می\u{200c}خواهم",
            "क\u{94d}\u{200d}ष",
            "♟\u{fe0f}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f} football",
            "\u{600}١٢٣",
            "a\u{3164}b",
            "⠓\u{2800}⠊",
        ] {
            assert_eq!(fault_in_line(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_hides_or_turns_text_is_refused_by_its_number() {
        for (text, number) in [
            ("a\nb", "U+000A"),
            ("a\0b", "U+0000"),
            ("a\u{7f}b", "U+007F"),
            ("a\u{202e}b", "U+202E"),
            ("a\u{2028}b", "U+2028"),
            ("a\u{2066}b", "U+2066"),
            ("a\u{61c}b", "U+061C"),
            ("a\u{200b}b", "U+200B"),
            ("a\u{200e}b", "U+200E"),
            ("a\u{200f}b", "U+200F"),
            ("a\u{2060}b", "U+2060"),
            ("a\u{feff}b", "U+FEFF"),
            ("a\u{ad}b", "U+00AD"),
            ("a\u{e0061}b", "U+E0061"),
            ("🏴a\u{e0067}", "U+E0067"),
        ] {
            let fault = fault_in_line(text).expect(text);
            assert!(fault.ends_with(number), "{text:?}: {fault}");
        }
    }

    #[test]
    fn a_line_has_something_to_see() {
        for text in [
            "",
            "\u{200d}",
            "\u{200c}\u{fe0f}",
            "\u{34f}",
            "\u{200d}\u{3164}\u{200d}",
        ] {
            let fault = fault_in_line(text).unwrap();
            assert_eq!(fault, "must have a visible character", "{text:?}");
        }
        for blank in [
            "\u{3164}",
            "\u{2800}",
            "\u{115f}\u{ffa0}",
            " \u{3000}\u{a0}",
        ] {
            assert_eq!(trim(blank), "", "{blank:?}");
        }
        assert_eq!(trim("\u{3164} Chess\u{2800}"), "Chess");
    }

    #[test]
    fn a_description_has_lines_and_soft_marks_and_turns_nothing() {
        assert_eq!(fault_in_text("a\r\n\tb\u{200f}\u{ad}\u{200b}"), None);
        for text in ["a\u{7}", "\u{202e}", "\u{2067}", "\u{2028}"] {
            assert!(fault_in_text(text).is_some(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_line_that_passes_is_one_line_that_shows_something(text in any::<String>()) {
            let text = trim(&text);
            if fault_in_line(text).is_none() {
                prop_assert!(text.lines().count() == 1);
                prop_assert!(text.chars().any(|c| !c.is_whitespace() && !c.is_control()));
                let hidden = text.contains(['\u{202e}', '\u{200b}', '\u{feff}']);
                prop_assert!(!hidden);
            }
        }
    }
}
