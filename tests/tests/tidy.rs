//! The style guide as a test: what a reader may rely on in every file, and no compiler checks.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Words that say what is not so, name by another word what the glossary names, or wait forever.
const BANNED_WORDS: [&str; 8] = [
    "tamper-proof",
    "blockchain",
    "whitelist",
    "blacklist",
    "four eyes",
    "tenant",
    "unbounded_channel",
    "mpsc::unbounded",
];

/// Beginnings of function names that say nothing.
const BANNED_FUNCTIONS: [&str; 3] = ["fn get_", "fn handle_", "fn process_"];

/// Parts of type names that say nothing.
const BANNED_NAMES: [&str; 4] = ["Manager", "Helper", "Util", "Common"];

/// What the pure crates may not touch: clock, disk, socket, environment, randomness.
const IMPURE: [&str; 10] = [
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "std::fs",
    "std::env",
    "std::process",
    "TcpStream",
    "UdpSocket",
    "tokio",
    "thread_rng",
];

/// The layers of the binary, lowest first.
const LAYERS: [&[&str]; 4] = [
    &["config", "https", "keyfile", "metrics"],
    &["authn", "store", "ledger", "signer", "ca", "egress", "relay", "witness", "backup"],
    &["gate", "ingress", "notices", "api"],
    &["app", "cli", "demo", "serve"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("target") => {}
            true => walk(&path, files),
            false => files.push(path),
        }
    }
}

/// Every source file of the workspace with its text, but for this one.
fn sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut files = Vec::new();
    for top in ["audit-schema", "bastion", "tests"] {
        walk(&root.join(top), &mut files);
    }
    files.sort();
    assert!(files.len() > 20, "the sources were not found below {root:?}");
    files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .filter(|file| !file.ends_with("tests/tests/tidy.rs"))
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(&root).unwrap().to_owned(), text)
        })
        .collect()
}

/// Fails with all that was found, so that one run tells everything.
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// The lines of a file before its unit tests, with their numbers.
fn product(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(index, line)| (index + 1, line))
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs")
}

#[test]
fn every_file_says_why_it_is_there() {
    let silent = |(_, text): &(PathBuf, String)| !text.starts_with("//!");
    let found = sources().into_iter().filter(silent).map(|(file, _)| file.display().to_string());
    none("files without a module doc", found.collect());
}

#[test]
fn files_functions_and_lines_fit() {
    let mut found = Vec::new();
    for (file, text) in sources() {
        let name = file.display();
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            found.push(format!("{name}: {} lines, at most {FILE_LINES_MAX}", lines.len()));
        }
        for (index, line) in lines.iter().enumerate() {
            if line.chars().count() > COLUMNS_MAX && !line.contains("://") {
                found.push(format!("{name}:{}: wider than {COLUMNS_MAX}", index + 1));
            }
        }
        for (index, length) in functions(&lines) {
            // A test's table is data, however long.
            if length > FUNCTION_LINES_MAX && !is_test(&file) {
                found.push(format!("{name}:{}: a function of {length} lines", index + 1));
            }
        }
    }
    none("too long", found);
}

/// Where each function begins and how many lines it has; relies on rustfmt's indentation.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let (end, no_body) = (format!("{indent}}}"), format!("{indent}fn "));
        let rest = &lines[index..];
        let opened = rest.iter().position(|line| line.ends_with('{'));
        let closed = rest.iter().position(|line| *line == end);
        // A signature without a body, in a trait, is followed by the next one before any brace.
        let next = rest.iter().skip(1).position(|line| line.starts_with(&no_body));
        if let (Some(open), Some(close)) = (opened, closed)
            && open < close
            && next.is_none_or(|next| open <= next + 1)
        {
            found.push((index, close + 1));
        }
    }
    found
}

fn begins_function(line: &str) -> bool {
    let mut words = line.trim_start();
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "] {
        words = words.strip_prefix(word).unwrap_or(words);
    }
    words.starts_with("fn ")
}

#[test]
fn words_are_those_of_the_glossary() {
    let mut found = Vec::new();
    for (file, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            let low = line.to_lowercase();
            let words = BANNED_WORDS.into_iter().filter(|word| low.contains(word));
            let functions = BANNED_FUNCTIONS.into_iter().filter(|start| line.contains(start));
            let names = BANNED_NAMES.into_iter().filter(|part| declared(line).contains(part));
            for word in words.chain(functions).chain(names) {
                found.push(format!("{}:{}: {word}", file.display(), index + 1));
            }
        }
    }
    none("words that say nothing, or not ours", found);
}

/// The name of the type that a line declares, or nothing.
fn declared(line: &str) -> &str {
    let line = line.trim_start();
    let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
    ["struct ", "enum ", "trait ", "type "]
        .iter()
        .find_map(|kind| line.strip_prefix(kind))
        .unwrap_or_default()
}

#[test]
fn no_result_is_thrown_away_and_every_expect_says_why() {
    let mut found = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| !is_test(file)) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in product(&text) {
            if line.trim_start().starts_with("let _ =") {
                found.push(format!("{}:{number}: let _ =", file.display()));
            }
            let near = &lines[number.saturating_sub(4)..number];
            if line.contains(".expect(\"") && !near.iter().any(|line| line.contains("//")) {
                found.push(format!("{}:{number}: expect without a reason", file.display()));
            }
        }
    }
    none("results that nobody looks at", found);
}

#[test]
fn the_format_and_the_decisions_are_pure() {
    let mut found = Vec::new();
    for (file, text) in sources() {
        // The verifier's program reads files; the crate that it is made from does not.
        let program = file.starts_with("audit-schema/src/bin");
        let pure = file.starts_with("audit-schema/src") || file.starts_with("bastion/core/src");
        if program || !pure {
            continue;
        }
        for (number, line) in product(&text) {
            let code = line.split("//").next().unwrap_or_default();
            for word in IMPURE.into_iter().filter(|word| code.contains(word)) {
                found.push(format!("{}:{number}: {word}", file.display()));
            }
        }
    }
    none("not pure", found);
}

#[test]
fn layers_look_down_only() {
    let mut found = Vec::new();
    for (file, text) in sources() {
        let Ok(inside) = file.strip_prefix("bastion/src") else { continue };
        let module = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = module.trim_end_matches(".rs");
        let Some(own) = layer(module) else { continue };
        for (number, line) in product(&text) {
            let code = line.split("//").next().unwrap_or_default();
            for used in code.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                // The flow is handed the one `App` that the shell put together.
                let handed = own == 2 && used == "app";
                if layer(used).is_some_and(|other| other > own) && !handed {
                    found.push(format!("{}:{number}: {module} uses {used}", file.display()));
                }
            }
        }
    }
    none("a lower layer looks up", found);
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn every_file_is_part_of_the_build() {
    let sources = sources();
    let mut found = Vec::new();
    for (file, _) in &sources {
        let parent = file.parent().unwrap();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        // Files right below a crate's `tests`, `examples` or `src/bin` are targets of their own.
        let target = ["tests", "examples"].contains(&&*name(parent)) || parent.ends_with("src/bin");
        if target || ["main", "lib"].contains(&stem.as_str()) {
            continue;
        }
        let (module, folder) = match stem == "mod" {
            true => (name(parent), parent.parent().unwrap()),
            false => (stem, parent),
        };
        let owners = [
            folder.join("mod.rs"),
            folder.join("lib.rs"),
            folder.join("main.rs"),
            folder.with_extension("rs"),
        ];
        let owns = |other: &PathBuf| {
            owners.contains(other) || name(folder) == "tests" && other.parent() == Some(folder)
        };
        let declares = |text: &str| text.contains(&format!("mod {module};"));
        let mut owned = sources.iter().filter(|(other, _)| owns(other));
        if !owned.any(|(_, text)| declares(text)) {
            found.push(file.display().to_string());
        }
    }
    none("files that no module declares", found);
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn both_databases_have_the_same_tables() {
    let tables = |store: &str| -> BTreeSet<String> {
        let mut files = Vec::new();
        walk(&root().join("bastion/migrations").join(store), &mut files);
        let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        text.lines()
            .filter_map(|line| line.strip_prefix("CREATE TABLE "))
            .filter_map(|rest| rest.split([' ', '(']).next())
            .map(str::to_owned)
            .collect()
    };
    assert!(tables("sqlite").contains("entries"));
    assert_eq!(tables("sqlite"), tables("postgres"));
}

#[test]
fn the_readme_names_commands_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for script in ["./walk", "./check"] {
        assert!(readme.contains(script), "README.md does not mention {script}");
        assert!(root().join(script).exists(), "{script} is gone");
    }
}
