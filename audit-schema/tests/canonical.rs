//! One encoding: a hostile corpus, and values of every shape that come back as they were.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

use audit_schema::{
    canonical::{CanonicalError, INTEGER_MAX, check, decode, encode},
    commit::Opening,
    entry::{Entry, EntryError, LINE_BYTES_MAX},
    hash::Hash,
    time::Timestamp,
};
use serde_json::{Value, json};

use CanonicalError::{Depth, Duplicate, Key, Null, Number, Spelling, Syntax};

/// What some JSON reader somewhere takes, and what none does.
const HOSTILE: &[(&[u8], CanonicalError)] = &[
    // Not JSON.
    (b"", Syntax),
    (b"{", Syntax),
    (b"}", Syntax),
    (b"{\"a\":1", Syntax),
    (b"{\"a\"", Syntax),
    (b"{\"a", Syntax),
    (b"{a:1}", Syntax),
    (b"{'a':1}", Syntax),
    (b"{\"a\":}", Syntax),
    (b"{\"a\":1,}", Syntax),
    (b"{,\"a\":1}", Syntax),
    (b"[1,]", Syntax),
    (b"[1 2]", Spelling),
    (b"[", Syntax),
    (b"\"a", Syntax),
    (b"\"a\\", Syntax),
    (b"tru", Syntax),
    (b"True", Syntax),
    (b"NaN", Syntax),
    (b"Infinity", Syntax),
    (b"// x\n1", Syntax),
    (b"1/**/", Syntax),
    (b"{}{}", Syntax),
    (b"{}\0", Syntax),
    (b"\xef\xbb\xbf{}", Syntax),
    // Not UTF-8: a stray byte, an overlong slash, a surrogate, beyond U+10FFFF, cut short.
    (b"\"\xff\"", Syntax),
    (b"\"\xc0\xaf\"", Syntax),
    (b"\"\xed\xa0\x80\"", Syntax),
    (b"\"\xf4\x90\x80\x80\"", Syntax),
    (b"\"\xe2\x82\"", Syntax),
    // White space.
    (b" {}", Spelling),
    (b"{} ", Spelling),
    (b"{}\n", Spelling),
    (b"{}\r\n", Spelling),
    (b"{ }", Spelling),
    (b"{\"a\": 1}", Spelling),
    (b"{\"a\" :1}", Spelling),
    (b"[1, 2]", Spelling),
    (b"[\t1]", Spelling),
    // Keys.
    (b"{\"b\":1,\"a\":2}", Spelling),
    (b"{\"a\":1,\"a\":1}", Duplicate),
    (b"{\"a\":1,\"A\":2}", Spelling),
    (b"{\"aa\":1,\"a\":2}", Spelling),
    (b"{\"\":1}", Key),
    (b"{\"\xc3\xa9\":1}", Key),
    (b"{\"\\u0061\":1}", Key),
    (b"{\"a\\\"b\":1}", Key),
    (b"{\"a\\\\\":1}", Key),
    (b"{\"a\tb\":1}", Key),
    (b"{\"a\x7f\":1}", Key),
    // Numbers.
    (b"1.0", Number),
    (b"1.5", Number),
    (b"1e3", Number),
    (b"1E3", Number),
    (b"1e-3", Number),
    (b"-0", Number),
    (b"00", Number),
    (b"01", Number),
    (b"-01", Number),
    (b"-", Number),
    (b"+1", Syntax),
    (b".5", Syntax),
    (b"0x10", Syntax),
    (b"9007199254740992", Number),
    (b"-9007199254740992", Number),
    (b"9007199254740993", Number),
    (b"18446744073709551616", Number),
    (b"99999999999999999999999999999999999999999999999999", Number),
    // Null.
    (b"null", Null),
    (b"[null]", Null),
    (b"{\"a\":null}", Null),
    (b"nul", Syntax),
    // Escapes.
    (b"\"\\/\"", Spelling),
    (b"\"\\u0041\"", Spelling),
    (b"\"\\u000a\"", Spelling),
    (b"\"\\u0008\"", Spelling),
    (b"\"\\u001F\"", Spelling),
    (b"\"\\u0022\"", Spelling),
    (b"\"\\u007f\"", Spelling),
    (b"\"\\u00e9\"", Spelling),
    (b"\"\\ud800\"", Spelling),
    (b"\"\\udc00\\ud800\"", Spelling),
    (b"\"\\ud83d\\ude00\"", Spelling),
    (b"\"\\u00\"", Syntax),
    (b"\"\\u00g0\"", Syntax),
    (b"\"\\U0001\"", Syntax),
    (b"\"\\x41\"", Syntax),
    (b"\"\\0\"", Syntax),
    (b"\"a\nb\"", Syntax),
    (b"\"a\0b\"", Syntax),
    (b"\"a\x1fb\"", Syntax),
    // Nested one too deep.
    (b"[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", Depth),
];

#[test]
fn nothing_but_the_one_spelling_is_accepted() {
    for (bytes, expected) in HOSTILE {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(check(bytes), Err(*expected), "{shown}");
        assert_eq!(decode(bytes), Err(*expected), "{shown}");
    }
}

#[test]
fn what_is_canonical_comes_back_as_it_was() {
    let table: &[&[u8]] = &[
        b"{}",
        b"[]",
        b"\"\"",
        b"0",
        b"-1",
        b"9007199254740991",
        b"-9007199254740991",
        b"true",
        b"[false,{\"a\":[]}]",
        b"{\" \":1,\"A\":2,\"a\":3,\"a b\":4,\"~\":5}",
        b"\"\\\"\\\\\\b\\t\\n\\f\\r\\u0000\\u0001\\u000b\\u000e\\u001f\x7f/\"",
        "\"é “€” 😀 \u{2028}\u{fffd}\u{feff}\"".as_bytes(),
        b"[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
    ];
    for bytes in table {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(check(bytes), Ok(()), "{shown}");
        assert_eq!(encode(&decode(bytes).unwrap()).unwrap(), *bytes, "{shown}");
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let bomb = open.repeat(1_000_000);
        assert_eq!(check(bomb.as_bytes()), Err(CanonicalError::Depth));
    }
}

#[test]
fn values_without_a_canonical_form_are_not_written() {
    let beyond = INTEGER_MAX + 1;
    let deep = (0..17).fold(json!(1), |inner, _| json!([inner]));
    for value in [
        json!(null),
        json!({"a": null}),
        json!(1.5),
        json!(1.0),
        json!(-0.0),
        json!(beyond),
        json!(-beyond),
        json!(u64::MAX),
        json!(i64::MIN),
        json!({"": 1}),
        json!({"é": 1}),
        json!({"a\"b": 1}),
        json!({"a\\b": 1}),
        json!({"a\nb": 1}),
        deep,
    ] {
        assert!(encode(&value).is_err(), "{value}");
    }
}

const ENTRY: &str = concat!(
    r#"{"actor":{"id":"gw-1","kind":"gateway"},"#,
    r#""commit":{"a":"1111111111111111111111111111111111111111111111111111111111111111"},"#,
    r#""customer":{"id":"acme","#,
    r#""prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":0},"#,
    r#""event":{"type":"some.day","v":9},"gateway":"gw-1","#,
    r#""prev":"2222222222222222222222222222222222222222222222222222222222222222","#,
    r#""seq":7,"time":"2026-11-24T08:02:00.000001Z"}"#,
);

#[test]
fn an_entry_has_its_fields_and_no_others() {
    let entry = Entry::parse(ENTRY.as_bytes()).unwrap();
    assert_eq!(entry.to_line().unwrap().bytes(), ENTRY.as_bytes());
    assert_eq!(entry.event(), None, "an unknown type is an entry all the same");
    let (digits, zeros) = ("1".repeat(64), "0".repeat(64));
    let table = [
        ("no actor", r#""actor":{"id":"gw-1","kind":"gateway"},"#, "".to_owned()),
        (
            "an actor as an array",
            r#"{"id":"gw-1","kind":"gateway"}"#,
            r#"["gw-1","gateway"]"#.into(),
        ),
        ("a kind as an object", r#""gateway"}"#, r#"{"gateway":[]}}"#.to_owned()),
        (
            "a customer as an array",
            &*format!(r#"{{"id":"acme","prev":"{zeros}","seq":0}}"#),
            format!(r#"["acme","{zeros}",0]"#),
        ),
        ("an unknown kind", "gateway\"}", "robot\"}".to_owned()),
        ("an unknown field", r#""gateway":"gw-1","#, r#""gateway":"gw-1","more":1,"#.to_owned()),
        ("an empty commit", &*format!(r#"{{"a":"{digits}"}}"#), "{}".to_owned()),
        ("upper case", &*digits, "A".repeat(64)),
        ("a short hash", &*digits, "1".repeat(63)),
        ("a long hash", &*digits, "1".repeat(65)),
        ("not hex", &*digits, "g".repeat(64)),
        ("more of a customer", r#""seq":0}"#, r#""seq":0,"x":1}"#.to_owned()),
        ("less of a customer", r#","seq":0}"#, "}".to_owned()),
        ("a negative seq", r#""seq":7"#, r#""seq":-7"#.to_owned()),
        ("seq as text", r#""seq":7"#, r#""seq":"7""#.to_owned()),
        ("no event", r#""event":{"type":"some.day","v":9},"#, String::new()),
        ("an event that is text", r#"{"type":"some.day","v":9}"#, r#""some.day""#.to_owned()),
        ("no type", r#""type":"some.day","#, String::new()),
        ("an empty type", "some.day", String::new()),
        ("no version", r#","v":9"#, String::new()),
        ("a negative version", r#""v":9"#, r#""v":-9"#.to_owned()),
        ("version as text", r#""v":9"#, r#""v":"9""#.to_owned()),
        ("no fraction", ".000001Z", "Z".to_owned()),
        ("an offset", "000001Z", "000001+00:00".to_owned()),
    ];
    for (name, from, to) in table {
        assert!(ENTRY.contains(from), "{name}");
        let bad = ENTRY.replacen(from, &to, 1);
        assert!(
            matches!(Entry::parse(bad.as_bytes()), Err(EntryError::Shape(_))),
            "{name}: {:?}",
            Entry::parse(bad.as_bytes())
        );
    }
    for other in ["[]", "{}", "1", "\"x\""] {
        assert!(Entry::parse(other.as_bytes()).is_err());
    }
    // The fields' values alone, in order.
    let fields: serde_json::Map<String, Value> = serde_json::from_str(ENTRY).unwrap();
    let values = encode(&fields.into_values().collect()).unwrap();
    assert!(matches!(Entry::parse(&values), Err(EntryError::Shape(_))));
    let opening = format!(r#"["a","{digits}",1,"x"]"#);
    assert!(Opening::parse(opening.as_bytes()).is_err());
}

#[test]
fn a_line_is_as_long_as_it_may_be_and_no_longer() {
    let with = |length: usize| {
        let text = "x".repeat(length);
        ENTRY.replacen(r#","v":9"#, &format!(r#","v":9,"x":"{text}""#), 1)
    };
    let room = LINE_BYTES_MAX - with(0).len();
    let longest = with(room);
    let entry = Entry::parse(longest.as_bytes()).unwrap();
    assert_eq!(entry.to_line().unwrap().bytes(), longest.as_bytes());
    assert_eq!(Entry::parse(with(room + 1).as_bytes()), Err(EntryError::Long));
    let mut longer = entry;
    longer.event["x"] = Value::from("x".repeat(room + 1));
    assert_eq!(longer.to_line(), Err(EntryError::Long));
}

#[test]
fn an_entry_that_cannot_be_is_not_written() {
    let entry = Entry::parse(ENTRY.as_bytes()).unwrap();
    for event in [
        json!({}),
        json!({"type": "x"}),
        json!({"v": 1}),
        json!({"type": "", "v": 1}),
        json!({"type": "x", "v": 1, "a": null}),
        json!({"type": "x", "v": 1, "a": 0.5}),
        json!({"type": "x", "v": 1, "é": 1}),
        json!({"type": "x", "v": u64::MAX}),
        json!("x"),
    ] {
        let bad = Entry { event, ..entry.clone() };
        assert!(bad.to_line().is_err(), "{}", bad.event);
    }
    let bad = Entry { seq: 1 << 53, ..entry };
    assert!(bad.to_line().is_err());
}

#[test]
fn times_have_one_spelling() {
    let table = [
        (0, "1970-01-01T00:00:00.000000Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (1_795_507_320_000_001, "2026-11-24T08:02:00.000001Z"),
        (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
        (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ];
    for (micros, text) in table {
        assert_eq!(Timestamp::from_micros(micros).to_string(), text);
        assert_eq!(text.parse(), Ok(Timestamp::from_micros(micros)));
    }
    for bad in [
        "",
        "2026-11-24T08:02:00Z",
        "2026-11-24T08:02:00.000Z",
        "2026-11-24T08:02:00.0000001Z",
        "2026-11-24 08:02:00.000001Z",
        "2026-11-24t08:02:00.000001z",
        "2026-11-24T08:02:00,000001Z",
        "2026-11-24T08:02:00.00000 Z",
        "2026-11-24T08:02:00.+00001Z",
        "2026-11-24T24:00:00.000000Z",
        "2026-11-24T08:60:00.000000Z",
        "2026-11-24T08:02:60.000000Z",
        "2026-02-29T00:00:00.000000Z",
        "2100-02-29T00:00:00.000000Z",
        "2026-04-31T00:00:00.000000Z",
        "2026-13-01T00:00:00.000000Z",
        "2026-00-01T00:00:00.000000Z",
        "2026-01-00T00:00:00.000000Z",
        "1969-12-31T23:59:59.999999Z",
        "0000-01-01T00:00:00.000000Z",
        "١٩٧٠-01-01T00:00:00.000000",
    ] {
        assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
    }
}

#[test]
fn every_day_of_eight_thousand_years_comes_back() {
    let mut before = String::new();
    for day in 0..2_932_897 {
        let time = Timestamp::from_seconds(day * 86_400 + day % 86_400);
        let text = time.to_string();
        assert_eq!(text.parse(), Ok(time));
        assert!(text > before, "texts sort as times");
        before = text;
    }
    assert!(before.starts_with("9999-12-31"));
}

#[test]
fn times_that_cannot_be_spelled_are_clamped() {
    let last = Timestamp::from_micros(i64::MAX);
    assert_eq!(last.to_string(), "9999-12-31T23:59:59.999999Z");
    assert_eq!(last.plus_seconds(i64::MAX), last);
    let first = Timestamp::from_seconds(i64::MIN);
    assert_eq!((first.micros(), first.plus_seconds(-1)), (0, first));
}

#[test]
fn hashes_have_one_spelling() {
    let text = "00ff10a9".repeat(8);
    let hash: Hash = text.parse().unwrap();
    assert_eq!((hash.to_string(), Hash::from_slice(&hash.0)), (text.clone(), Ok(hash)));
    for bad in [&text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replace('a', "g")] {
        assert!(bad.parse::<Hash>().is_err(), "{bad}");
    }
    assert!(Hash::from_slice(&[0; 31]).is_err());
}
