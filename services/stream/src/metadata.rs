//! What an owner tells about a stream: title, description, category, tags, visibility.
//!
//! Text is trimmed and bounded here, once, so that everything behind can rely on it.

mod text;

use marquee_common::contract::FieldError;
use serde::{Deserialize, Serialize};

use self::text::{fault_in_line, fault_in_text, trim};
use crate::lifecycle::UnknownValue;

/// Longest title, in characters.
pub const TITLE_MAX: usize = 140;
/// Longest description, in characters.
pub const DESCRIPTION_MAX: usize = 5_000;
/// Longest category or tag, in characters.
pub const LABEL_MAX: usize = 40;
/// Most tags.
pub const TAGS_MAX: usize = 10;

/// Who finds a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everyone, by the public list.
    #[default]
    Public,
    /// Whoever has its link.
    Unlisted,
}

impl Visibility {
    /// The name in the database, in answers and in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unlisted => "unlisted",
        }
    }
}

impl TryFrom<String> for Visibility {
    type Error = UnknownValue;
    fn try_from(name: String) -> Result<Self, UnknownValue> {
        [Self::Public, Self::Unlisted]
            .into_iter()
            .find(|visibility| visibility.name() == name)
            .ok_or(UnknownValue(name))
    }
}

/// Body of `POST /api/streams`; every field is optional.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
pub struct MetadataInput {
    /// 1 to 140 characters; without one the stream is named after its owner.
    pub title: Option<String>,
    /// Up to 5,000 characters.
    pub description: Option<String>,
    /// Up to 40 characters, kept in lower case.
    pub category: Option<String>,
    /// Up to 10 of up to 40 characters, kept in lower case, each once.
    pub tags: Option<Vec<String>>,
    /// `public` (default) or `unlisted`.
    pub visibility: Option<Visibility>,
}

/// Body of `PATCH /api/streams/{id}`: what is absent stays, `null` clears a description or a
/// category.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
pub struct MetadataPatch {
    /// 1 to 140 characters.
    pub title: Option<String>,
    /// Up to 5,000 characters; `null` clears it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// Up to 40 characters; `null` clears it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub category: Option<Option<String>>,
    /// Replaces all tags.
    pub tags: Option<Vec<String>>,
    /// `public` or `unlisted`.
    pub visibility: Option<Visibility>,
}

/// Tells a field that is `null` from one that is absent.
#[expect(
    clippy::option_option,
    reason = "absent, null and a value are what serde and JSON have"
)]
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Metadata of a new stream, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Trimmed, not empty.
    pub title: String,
    /// `None` when there is none.
    pub description: Option<String>,
    /// Lower case.
    pub category: Option<String>,
    /// Lower case, each once.
    pub tags: Vec<String>,
    /// Who finds it.
    pub visibility: Visibility,
}

/// A checked [`MetadataPatch`]: `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataChange {
    /// The new title.
    pub title: Option<String>,
    /// The new description, or none.
    pub description: Option<Option<String>>,
    /// The new category, or none.
    pub category: Option<Option<String>>,
    /// The new tags.
    pub tags: Option<Vec<String>>,
    /// The new visibility.
    pub visibility: Option<Visibility>,
}

impl MetadataInput {
    /// The metadata of a new stream of `username`, or the fields at fault.
    pub fn check(self, username: &str) -> Result<Metadata, Vec<FieldError>> {
        let mut faults = Faults::default();
        let metadata = Metadata {
            title: match self.title {
                Some(title) => faults.title(&title),
                None => default_title(username),
            },
            description: self.description.and_then(|text| faults.description(&text)),
            category: self.category.and_then(|text| faults.category(&text)),
            tags: self.tags.map(|tags| faults.tags(&tags)).unwrap_or_default(),
            visibility: self.visibility.unwrap_or_default(),
        };
        faults.or(metadata)
    }
}

impl MetadataPatch {
    /// The change, or the fields at fault.
    pub fn check(self) -> Result<MetadataChange, Vec<FieldError>> {
        let mut faults = Faults::default();
        let change = MetadataChange {
            title: self.title.map(|title| faults.title(&title)),
            description: self
                .description
                .map(|text| text.and_then(|text| faults.description(&text))),
            category: self
                .category
                .map(|text| text.and_then(|text| faults.category(&text))),
            tags: self.tags.map(|tags| faults.tags(&tags)),
            visibility: self.visibility,
        };
        faults.or(change)
    }
}

/// What a stream without a title is called.
pub fn default_title(username: &str) -> String {
    let name: String = username.chars().take(TITLE_MAX - 9).collect();
    format!("{name}'s stream")
}

/// The fields found at fault so far.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn or<T>(self, checked: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() {
            Ok(checked)
        } else {
            Err(self.0)
        }
    }

    fn add(&mut self, field: &str, message: String) {
        self.0.push(FieldError {
            field: field.to_owned(),
            message,
        });
    }

    fn title(&mut self, text: &str) -> String {
        let title = trim(text);
        if title.is_empty() || title.chars().count() > TITLE_MAX {
            self.add("title", format!("must have 1 to {TITLE_MAX} characters"));
        } else if let Some(fault) = fault_in_line(title) {
            self.add("title", fault);
        }
        title.to_owned()
    }

    fn description(&mut self, text: &str) -> Option<String> {
        let text = trim(text);
        if text.chars().count() > DESCRIPTION_MAX {
            self.add(
                "description",
                format!("must have at most {DESCRIPTION_MAX} characters"),
            );
        } else if let Some(fault) = fault_in_text(text) {
            self.add("description", fault);
        }
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn category(&mut self, text: &str) -> Option<String> {
        let category = trim(text).to_lowercase();
        if category.is_empty() {
            return None;
        }
        self.label("category", &category);
        Some(category)
    }

    fn tags(&mut self, texts: &[String]) -> Vec<String> {
        let mut tags: Vec<String> = Vec::new();
        for text in texts {
            let tag = trim(text).to_lowercase();
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > TAGS_MAX {
                self.add("tags", format!("must be at most {TAGS_MAX}"));
                break;
            }
        }
        for tag in &tags {
            self.label("tags", tag);
        }
        tags
    }

    fn label(&mut self, field: &str, label: &str) {
        if label.is_empty() || label.chars().count() > LABEL_MAX {
            self.add(field, format!("must have 1 to {LABEL_MAX} characters each"));
        } else if let Some(fault) = fault_in_line(label) {
            self.add(field, fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty_fields<T: std::fmt::Debug>(checked: Result<T, Vec<FieldError>>) -> Vec<String> {
        checked
            .unwrap_err()
            .into_iter()
            .map(|fault| fault.field)
            .collect()
    }

    #[test]
    fn nothing_given_names_the_stream_after_its_owner() {
        let metadata = MetadataInput::default().check("ada").unwrap();
        assert_eq!(metadata.title, "ada's stream");
        assert_eq!(metadata.visibility, Visibility::Public);
        assert!(metadata.tags.is_empty());
        let long = MetadataInput::default().check(&"ü".repeat(300)).unwrap();
        assert!(long.title.chars().count() <= TITLE_MAX);
    }

    #[test]
    fn text_is_trimmed_and_labels_are_lower_case_and_once() {
        let metadata = MetadataInput {
            title: Some("  Chess  ".to_owned()),
            description: Some(" \n ".to_owned()),
            category: Some(" Board Games ".to_owned()),
            tags: Some(vec![
                "Blitz".to_owned(),
                "blitz ".to_owned(),
                "ÄLO".to_owned(),
            ]),
            visibility: Some(Visibility::Unlisted),
        }
        .check("ada")
        .unwrap();
        assert_eq!(metadata.title, "Chess");
        assert_eq!(metadata.description, None);
        assert_eq!(metadata.category.as_deref(), Some("board games"));
        assert_eq!(metadata.tags, ["blitz", "älo"]);
        assert_eq!(metadata.visibility, Visibility::Unlisted);
    }

    #[test]
    fn every_field_at_fault_is_named() {
        let input = MetadataInput {
            title: Some("\u{7}".to_owned()),
            description: Some("x".repeat(DESCRIPTION_MAX + 1)),
            category: Some("c".repeat(LABEL_MAX + 1)),
            tags: Some(vec![String::new()]),
            visibility: None,
        };
        let fields = faulty_fields(input.check("ada"));
        assert_eq!(fields, ["title", "description", "category", "tags"]);
        let too_many = MetadataInput {
            tags: Some((0..11).map(|n| n.to_string()).collect()),
            ..MetadataInput::default()
        };
        assert_eq!(faulty_fields(too_many.check("ada")), ["tags"]);
        let nameless = MetadataPatch {
            title: Some("  ".to_owned()),
            ..MetadataPatch::default()
        };
        assert_eq!(faulty_fields(nameless.check()), ["title"]);
    }

    #[test]
    fn what_cannot_be_seen_is_no_title_no_category_and_no_tag() {
        for hidden in [
            "a\u{200b}b",
            "\u{feff}",
            "\u{2060}",
            "a\u{200f}",
            "\u{200d}",
        ] {
            let input = MetadataInput {
                title: Some(hidden.to_owned()),
                category: Some(hidden.to_owned()),
                tags: Some(vec![hidden.to_owned()]),
                ..MetadataInput::default()
            };
            let fields = faulty_fields(input.check("ada"));
            assert_eq!(fields, ["title", "category", "tags"], "{hidden:?}");
        }
        let blank = MetadataPatch {
            title: Some("\u{3164}\u{2800}".to_owned()),
            tags: Some(vec!["\u{2800}".to_owned()]),
            category: Some(Some("\u{3164}".to_owned())),
            ..MetadataPatch::default()
        };
        assert_eq!(faulty_fields(blank.check()), ["title", "tags"]);
    }

    #[test]
    fn a_patch_tells_null_from_absent() {
        let change = |json| {
            serde_json::from_str::<MetadataPatch>(json)
                .unwrap()
                .check()
                .unwrap()
        };
        assert_eq!(change("{}"), MetadataChange::default());
        assert_eq!(change(r#"{"description": null}"#).description, Some(None));
        assert_eq!(
            change(r#"{"category": "Music"}"#).category,
            Some(Some("music".to_owned()))
        );
    }
}
