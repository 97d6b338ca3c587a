//! The one encoding of a JSON value (RFC 8785, narrowed): `{"a":[1,true,"x"],"b":"é"}`.
//!
//! Narrowed to what cannot be misread: keys are printable ASCII without `"` and `\`, sorted, each
//! once; no white space, no floats, no nulls, integers within ±(2^53-1). [`check`] accepts exactly
//! what [`encode`] writes, so whoever parsed a line can re-encode it to the same bytes. It reads
//! the bytes once, builds nothing, and does not trust a JSON parser to notice a key that stands
//! twice or a number that does not fit: most do not.

use serde_json::Value;

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 16;

/// Why a value has no canonical form, or bytes are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A key that is empty, or has something else than printable ASCII, or a quote or backslash.
    #[error("a key is empty or not plain printable ASCII")]
    Key,
    /// A key that stands twice in one object.
    #[error("a key stands twice")]
    Duplicate,
    /// A null.
    #[error("null is not allowed")]
    Null,
    /// A number that is no integer within ±(2^53-1), or an integer in another spelling.
    #[error("a number is not an integer within 2^53-1")]
    Number,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested too deep")]
    Depth,
    /// Not JSON at all, or not UTF-8.
    #[error("not JSON")]
    Syntax,
    /// JSON, but spelled in another way than the one: white space, key order, escapes.
    #[error("not in canonical form")]
    Spelling,
}

use CanonicalError::{Depth, Duplicate, Key, Null, Number, Spelling, Syntax};

/// The canonical bytes of a value.
pub fn encode(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(512);
    write(value, DEPTH_MAX, &mut out)?;
    Ok(out)
}

/// The value of canonical bytes; every other spelling is refused.
pub fn decode(bytes: &[u8]) -> Result<Value, CanonicalError> {
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|_| Syntax)
}

/// Check that bytes are one value in its canonical form, without building it.
pub fn check(bytes: &[u8]) -> Result<(), CanonicalError> {
    std::str::from_utf8(bytes).map_err(|_| Syntax)?;
    let mut reader = Reader { bytes, at: 0 };
    reader.value(DEPTH_MAX)?;
    match reader.peek() {
        None => Ok(()),
        Some(byte) => Err(unexpected(byte)),
    }
}

/// A position in bytes that are known to be UTF-8.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Consume the byte if it is next.
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), CanonicalError> {
        if self.eat(byte) { Ok(()) } else { Err(self.peek().map_or(Syntax, unexpected)) }
    }

    /// One value with everything in it; `depth` bounds the recursion.
    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        match self.peek().ok_or(Syntax)? {
            b'"' => self.string(),
            b'{' => self.object(depth.checked_sub(1).ok_or(Depth)?),
            b'[' => self.array(depth.checked_sub(1).ok_or(Depth)?),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null").and(Err(Null)),
            byte => Err(unexpected(byte)),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), CanonicalError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), CanonicalError> {
        let negative = self.eat(b'-');
        let start = self.at;
        let mut integer: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            integer = integer * 10 + i64::from(digit - b'0');
            if integer > INTEGER_MAX {
                return Err(Number);
            }
            self.at += 1;
        }
        let digits = &self.bytes[start..self.at];
        let leading_zero = digits.len() > 1 && digits[0] == b'0';
        let float = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        if digits.is_empty() || leading_zero || float || (negative && integer == 0) {
            return Err(Number);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), CanonicalError> {
        self.expect(b'"')?;
        loop {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0x00..=0x1f);
            let plain = self.bytes[self.at..].iter().position(special).ok_or(Syntax)?;
            let byte = self.bytes[self.at + plain];
            self.at += plain + 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                _ => return Err(Syntax),
            }
        }
    }

    /// What follows a backslash: only what cannot stand as it is, and only its shortest form.
    fn escape(&mut self) -> Result<(), CanonicalError> {
        let byte = self.peek().ok_or(Syntax)?;
        self.at += 1;
        if matches!(byte, b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r') {
            return Ok(());
        }
        if byte != b'u' {
            return Err(if byte == b'/' { Spelling } else { Syntax });
        }
        match self.bytes.get(self.at..self.at + 4) {
            // Not those with a short form: 08, 09, 0a, 0c, 0d.
            Some([b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f'])
            | Some([b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f']) => {
                self.at += 4;
                Ok(())
            }
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Err(Spelling),
            _ => Err(Syntax),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.expect(b'[')?;
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if !self.eat(b',') {
                return self.expect(b']');
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Ok(());
        }
        let mut before: &[u8] = b"";
        loop {
            let key = self.key()?;
            match key.cmp(before) {
                std::cmp::Ordering::Less => return Err(Spelling),
                std::cmp::Ordering::Equal => return Err(Duplicate),
                std::cmp::Ordering::Greater => before = key,
            }
            self.expect(b':')?;
            self.value(depth)?;
            if !self.eat(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// A key, which has no escapes: the bytes between its quotes are the key.
    fn key(&mut self) -> Result<&'a [u8], CanonicalError> {
        self.expect(b'"')?;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'"').ok_or(Syntax)?;
        self.at += length + 1;
        let key = &rest[..length];
        if is_key(key) { Ok(key) } else { Err(Key) }
    }
}

/// White space is JSON in another spelling; anything else out of place is no JSON.
fn unexpected(byte: u8) -> CanonicalError {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' => Spelling,
        _ => Syntax,
    }
}

fn is_key(key: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    !key.is_empty() && key.iter().all(plain)
}

fn write(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let deeper = || depth.checked_sub(1).ok_or(Depth);
    match value {
        Value::Null => return Err(Null),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) => {
            let integer = number.as_i64().ok_or(Number)?;
            if integer.unsigned_abs() > INTEGER_MAX.unsigned_abs() {
                return Err(Number);
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
                if !is_key(key.as_bytes()) {
                    return Err(Key);
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
