//! The tables of FORMAT.md, made from the text of `src/event/`: a variant's doc comment, its
//! serde name and its fields are what the table says.

/// The table of events, from the files of variants.
pub fn events(files: &[String]) -> String {
    let mut table = String::from("| type | fields | means | commits |\n|---|---|---|---|\n");
    let mut event = Row::default();
    for line in files.iter().flat_map(|file| variants(file).lines()) {
        event.take(line.trim());
        if event.done {
            table += &event.print();
            event = Row::default();
        }
    }
    table
}

/// The variants of one file: what its macro adds to those before.
fn variants(file: &str) -> &str {
    let (_, rest) = file.split_once("$($before)*\n").unwrap();
    let (variants, _) = rest.split_once("\n    } };\n").unwrap();
    variants
}

/// The table of the structs and enums that fields are made of.
pub fn types(source: &str) -> String {
    let mut table = String::from("| type | is |\n|---|---|\n");
    for name in ["ActorKind", "ChannelKind", "Direction", "Level", "Outcome"] {
        let words: Vec<_> = body(source, &format!("pub enum {name} {{"))
            .filter(|line| !line.starts_with("//") && !line.starts_with('#'))
            .map(|variant| format!("`{}`", snake(variant.trim_end_matches(','))))
            .collect();
        table += &format!("| {name} | one of {} |\n", words.join(", "));
    }
    for name in ["Place", "TrainingState"] {
        let mut row = Row::default();
        let inside = body(source, &format!("pub struct {name} {{"));
        inside.filter(|line| !line.starts_with("//")).for_each(|line| row.field(line));
        table += &format!("| {name} | an object of {} |\n", row.fields.join(", "));
    }
    table
}

fn body<'a>(source: &'a str, head: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let start = source.find(head).unwrap() + head.len();
    let end = start + source[start..].find("\n}\n").unwrap();
    source[start..end].lines().map(str::trim).filter(|line| !line.is_empty())
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.char_indices() {
        if c.is_uppercase() && index > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[derive(Default)]
struct Row {
    docs: Vec<String>,
    name: String,
    fields: Vec<String>,
    optional: bool,
    inside: bool,
    done: bool,
}

impl Row {
    fn take(&mut self, line: &str) {
        if let Some(doc) = line.strip_prefix("///") {
            if !self.inside {
                self.docs.push(doc.trim().to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("#[serde(rename = \"") {
            self.name = rest.split('"').next().unwrap().to_owned();
        } else if line.starts_with("//") || line.is_empty() {
        } else if !self.inside && !line.starts_with('#') {
            // `Variant {`, or all of a short variant on one line.
            self.inside = true;
            if let Some((_, fields)) = line.split_once('{')
                && let Some(fields) = fields.trim().strip_suffix("},")
            {
                fields.split(", ").for_each(|field| self.field(field.trim()));
                self.done = true;
            }
        } else if line == "}," {
            self.done = true;
        } else {
            self.field(line);
        }
    }

    fn field(&mut self, line: &str) {
        if line.starts_with("#[serde(skip") {
            self.optional = true;
            return;
        }
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let Some((name, kind)) = line.trim_end_matches(',').split_once(": ") else { return };
        let mark = if self.optional { "?" } else { "" };
        self.fields.push(format!("`{name}{mark}` {}", spoken(kind)));
        self.optional = false;
    }

    fn print(&self) -> String {
        let docs = self.docs.join(" ");
        let (means, commits) = docs.split_once("Commits:").unwrap_or((&docs, "none."));
        let commits = commits.trim().trim_end_matches('.');
        let (means, fields) = (means.trim().replace('|', "\\|"), self.fields.join(", "));
        format!("| `{}` | {fields} | {means} | {commits} |\n", self.name)
    }
}

fn spoken(kind: &str) -> String {
    if let Some(inner) = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        return spoken(inner);
    }
    if let Some(inner) = kind.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
        return format!("list of {}", spoken(inner));
    }
    match kind {
        "String" => "text",
        "u64" => "number",
        "bool" => "true or false",
        other => other,
    }
    .to_owned()
}
