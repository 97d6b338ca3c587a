//! The parts of which the page is made. Text becomes HTML here and nowhere else.

use bastion_core::escape;

/// Text that is HTML already.
pub(super) struct Html(pub(super) String);

/// Text from anywhere, made safe.
pub(super) fn text(text: impl AsRef<str>) -> Html {
    Html(escape::html(text.as_ref()))
}

/// Lines in one cell; empty ones are left out.
pub(super) fn lines<T: AsRef<str>>(lines: &[T]) -> Html {
    let lines = lines.iter().map(AsRef::as_ref).filter(|line| !line.is_empty());
    let safe: Vec<String> = lines.map(escape::html).collect();
    Html(safe.join("<br>"))
}

/// A mark that shows in print too.
pub(super) fn flag(what: &str) -> Html {
    Html(format!("<strong class=\"flag\">{}</strong>", escape::html(what)))
}

/// A section with a heading and a sentence that says what it is.
pub(super) fn section(title: &str, about: &str, body: &Html) -> String {
    format!(
        "<section>\n<h2>{}</h2>\n<p>{}</p>\n{}</section>\n",
        escape::html(title),
        escape::html(about),
        body.0
    )
}

/// A table, or a sentence that says that there is nothing: an empty list is an answer too.
pub(super) fn table(none: &str, heads: &[&str], rows: Vec<Vec<Html>>) -> Html {
    if rows.is_empty() {
        return Html(format!("<p class=\"none\">{}</p>\n", escape::html(none)));
    }
    let mut out = String::from("<table>\n<thead><tr>");
    for head in heads {
        out += &format!("<th scope=\"col\">{}</th>", escape::html(head));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        out += "<tr>";
        for cell in row {
            out += &format!("<td>{}</td>", cell.0);
        }
        out += "</tr>\n";
    }
    out += "</tbody>\n</table>\n";
    Html(out)
}

/// Names and values.
pub(super) fn pairs(pairs: Vec<(&str, Html)>) -> Html {
    let mut out = String::from("<table class=\"pairs\">\n<tbody>\n");
    for (name, value) in pairs {
        out += &format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
            escape::html(name),
            value.0
        );
    }
    out += "</tbody>\n</table>\n";
    Html(out)
}

/// The look: no colour carries a meaning that words do not carry too.
pub(super) const STYLE: &str = "\
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #111; background: #fff;
  max-width: 78rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; border-bottom: 2px solid #111;
  padding-bottom: .2rem; }
p { margin: .4rem 0 .8rem; max-width: 60rem; }
.verdict { border: 2px solid #111; padding: .7rem 1rem; margin: 1.2rem 0; }
.verdict p { margin: .3rem 0; }
.broken { border: 5px double #b00020; }
.flag { border: 1px solid #b00020; color: #b00020; padding: 0 .3em; }
.none { font-style: italic; }
table { border-collapse: collapse; width: 100%; font-size: .82rem; margin: .5rem 0 1rem; }
th, td { border: 1px solid #999; padding: .3rem .45rem; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
thead th { background: #eee; overflow-wrap: normal; }
td:last-child { min-width: 5.5em; }
.pairs { width: auto; } .pairs th { font-weight: 600; background: #f6f6f6; white-space: nowrap; }
footer { margin-top: 3rem; font-size: .8rem; border-top: 1px solid #999; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { font-size: 9.5pt; margin: 0; max-width: none; padding: 0; }
  table { font-size: 7.5pt; } thead { display: table-header-group; }
  tr, .verdict { break-inside: avoid; } h2 { break-after: avoid; }
}
";
