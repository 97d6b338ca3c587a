//! The one encoding of a JSON value (RFC 8785, narrowed): `{"a":[1,true,"x"],"b":"é"}`.
//!
//! Narrowed to what cannot be misread: keys are ASCII and sorted, no white space, no floats, no
//! nulls, integers within ±(2^53-1), each key once. [`decode`] accepts exactly what [`encode`]
//! writes, so whoever parsed a line can re-encode it to the same bytes.

use serde_json::Value;

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 16;

/// Why a value has no canonical form, or bytes are not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A key outside printable ASCII.
    #[error("a key is not printable ASCII")]
    Key,
    /// A null.
    #[error("null is not allowed")]
    Null,
    /// A number that is no integer within ±(2^53-1).
    #[error("a number is not an integer within 2^53-1")]
    Number,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested too deep")]
    Depth,
    /// Not JSON at all.
    #[error("not JSON")]
    Syntax,
    /// JSON, but spelled in another way than the one.
    #[error("not in canonical form")]
    Spelling,
}

/// The canonical bytes of a value.
pub fn encode(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(512);
    write(value, DEPTH_MAX, &mut out)?;
    Ok(out)
}

/// The value of canonical bytes; every other spelling is refused.
pub fn decode(bytes: &[u8]) -> Result<Value, CanonicalError> {
    let value = serde_json::from_slice(bytes).map_err(|_| CanonicalError::Syntax)?;
    // A duplicate key is dropped by the parser, so the re-encoding differs and is refused here.
    if encode(&value)? == bytes {
        Ok(value)
    } else {
        Err(CanonicalError::Spelling)
    }
}

fn write(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let deeper = || depth.checked_sub(1).ok_or(CanonicalError::Depth);
    match value {
        Value::Null => return Err(CanonicalError::Null),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) => {
            let integer = number.as_i64().ok_or(CanonicalError::Number)?;
            if integer.abs() > INTEGER_MAX {
                return Err(CanonicalError::Number);
            }
            out.extend(integer.to_string().bytes());
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            let depth = deeper()?;
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, depth, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let depth = deeper()?;
            // Sorted here, not by the map: another crate of the build may ask serde_json to keep
            // the order of insertion.
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (index, key) in keys.into_iter().enumerate() {
                if key.is_empty() || !key.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                    return Err(CanonicalError::Key);
                }
                if index > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(&map[key], depth, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// RFC 8785 §3.2.2.2: the short escapes, `\u00xx` for other controls, everything else as it is.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            0x08 => out.extend(b"\\b"),
            0x09 => out.extend(b"\\t"),
            0x0a => out.extend(b"\\n"),
            0x0c => out.extend(b"\\f"),
            0x0d => out.extend(b"\\r"),
            0x00..=0x1f => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
