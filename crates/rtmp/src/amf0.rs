//! AMF0, the coding of RTMP's commands (Adobe's "Action Message Format AMF 0", 2007).
//!
//! What is read comes from strangers: nesting, the number of values and every length are bounded by
//! what is there, and nothing is set aside before it has come.

use bytes::{Buf, BufMut, BytesMut};

/// Deeper than any command of any encoder.
const DEEPEST: usize = 8;
/// More values than any command has, those inside others counted.
const MOST_VALUES: usize = 512;

const NUMBER: u8 = 0;
const BOOLEAN: u8 = 1;
const STRING: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const UNDEFINED: u8 = 6;
const ECMA_ARRAY: u8 = 8;
const OBJECT_END: u8 = 9;
const STRICT_ARRAY: u8 = 10;
const DATE: u8 = 11;
const LONG_STRING: u8 = 12;
const UNSUPPORTED: u8 = 13;
const XML: u8 = 15;
const TYPED_OBJECT: u8 = 16;

/// A value. Not printable: a stream key may be among its strings.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Boolean(bool),
    String(String),
    /// Objects, typed ones too, and arrays with names.
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    /// Null, undefined, and what has no meaning for us.
    Null,
}

/// Why bytes are no AMF0. It repeats nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Amf0Error {
    /// They end within a value.
    #[error("a value is cut off")]
    CutOff,
    /// A type that AMF0 does not have.
    #[error("type {0} does not exist")]
    UnknownType(u8),
    /// Values within values within values.
    #[error("values are nested deeper than {DEEPEST} levels")]
    TooDeep,
    /// Too many of them.
    #[error("there are more than {MOST_VALUES} values")]
    TooMany,
}

impl Value {
    /// An object's value by name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find_map(|(field, value)| (field == name).then_some(value)),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

/// Reads values until the bytes end.
pub(crate) fn read_all(mut bytes: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    let mut reader = Reader { values: 0 };
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(reader.value(&mut bytes, 0)?);
    }
    Ok(all)
}

struct Reader {
    values: usize,
}

impl Reader {
    fn value(&mut self, bytes: &mut &[u8], depth: usize) -> Result<Value, Amf0Error> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(Amf0Error::TooMany);
        }
        if depth > DEEPEST {
            return Err(Amf0Error::TooDeep);
        }
        match take(bytes, 1)?[0] {
            NUMBER => Ok(Value::Number(take(bytes, 8)?.get_f64())),
            BOOLEAN => Ok(Value::Boolean(take(bytes, 1)?[0] != 0)),
            STRING => string(bytes).map(Value::String),
            LONG_STRING | XML => {
                let length = take(bytes, 4)?.get_u32();
                let text = take(bytes, usize::try_from(length).unwrap_or(usize::MAX))?;
                Ok(Value::String(String::from_utf8_lossy(text).into_owned()))
            }
            OBJECT => self.fields(bytes, depth).map(Value::Object),
            TYPED_OBJECT => {
                string(bytes)?;
                self.fields(bytes, depth).map(Value::Object)
            }
            ECMA_ARRAY => {
                // The count is a hint that encoders get wrong; the end mark counts.
                take(bytes, 4)?;
                self.fields(bytes, depth).map(Value::Object)
            }
            STRICT_ARRAY => {
                let count = take(bytes, 4)?.get_u32();
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.value(bytes, depth + 1)?);
                }
                Ok(Value::Array(items))
            }
            DATE => Ok(Value::Number(take(bytes, 10)?.get_f64())),
            NULL | UNDEFINED | UNSUPPORTED => Ok(Value::Null),
            other => Err(Amf0Error::UnknownType(other)),
        }
    }

    fn fields(
        &mut self,
        bytes: &mut &[u8],
        depth: usize,
    ) -> Result<Vec<(String, Value)>, Amf0Error> {
        let mut fields = Vec::new();
        loop {
            let name = string(bytes)?;
            if name.is_empty() && bytes.first() == Some(&OBJECT_END) {
                bytes.advance(1);
                return Ok(fields);
            }
            fields.push((name, self.value(bytes, depth + 1)?));
        }
    }
}

fn string(bytes: &mut &[u8]) -> Result<String, Amf0Error> {
    let length = take(bytes, 2)?.get_u16();
    let text = take(bytes, length.into())?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Amf0Error> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Amf0Error::CutOff)?;
    *bytes = rest;
    Ok(taken)
}

/// Writes a value. Strings of ours are short; a longer one is cut at what the format takes.
pub(crate) fn write(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Number(number) => {
            out.put_u8(NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(flag) => out.put_slice(&[BOOLEAN, u8::from(*flag)]),
        Value::String(text) => {
            out.put_u8(STRING);
            write_string(text, out);
        }
        Value::Object(fields) => {
            out.put_u8(OBJECT);
            for (name, value) in fields {
                write_string(name, out);
                write(value, out);
            }
            out.put_slice(&[0, 0, OBJECT_END]);
        }
        Value::Array(items) => {
            out.put_u8(STRICT_ARRAY);
            out.put_u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
            for item in items {
                write(item, out);
            }
        }
        Value::Null => out.put_u8(NULL),
    }
}

fn write_string(text: &str, out: &mut BytesMut) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(&text.as_bytes()[..length.into()]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    impl std::fmt::Debug for Value {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let mut bytes = BytesMut::new();
            write(self, &mut bytes);
            bytes.fmt(f)
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f64>()
                .prop_filter("equal to itself", |number| !number.is_nan())
                .prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..6).prop_map(Value::Object),
                prop::collection::vec(inner, 0..6).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(values in prop::collection::vec(value(), 0..5)) {
            let mut bytes = BytesMut::new();
            for value in &values {
                write(value, &mut bytes);
            }
            prop_assert_eq!(read_all(&bytes).unwrap(), values);
        }

        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_all(&bytes);
        }
    }

    #[test]
    fn a_length_of_two_gigabytes_is_an_error_and_costs_nothing() {
        let long = [LONG_STRING, 0x7f, 0xff, 0xff, 0xff, b'x'];
        assert_eq!(read_all(&long), Err(Amf0Error::CutOff));
        let array = [STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff, NULL];
        assert_eq!(read_all(&array), Err(Amf0Error::CutOff));
    }

    #[test]
    fn endless_nesting_and_endless_values_are_refused() {
        let nested = [STRICT_ARRAY, 0, 0, 0, 1].repeat(10_000);
        assert_eq!(read_all(&nested), Err(Amf0Error::TooDeep));
        assert_eq!(read_all(&[NULL; 10_000]), Err(Amf0Error::TooMany));
    }
}
