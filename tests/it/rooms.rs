//! Holds the table of DESIGN §6: which room may import which, and what else keeps the rooms apart.
//!
//! It reads the sources as tokens, with comments and literals taken out, and follows every path that starts at
//! the crate's root: `use crate::…`, `crate::…` in the middle of code, and `super::…` chains that climb that far.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by rank. A room imports only rooms of a lower rank. The tens are DESIGN's floors; floor 0 has an
/// order of its own. So peers such as `cache` and `upstream` never meet.
const ROOMS: &[(u8, &[&str])] = &[
    (0, &["oci"]),
    (1, &["gzip", "tar"]),
    (2, &["imgpkg", "cnab"]),
    (3, &["rewrite"]),
    (10, &["body", "tls", "telemetry", "config"]),
    (20, &["cache", "upstream"]),
    (30, &["proxy"]),
    (40, &["server", "admin"]),
    (50, &["cli"]),
];

/// Rooms below this rank are pure.
const PURE: u8 = 10;

/// What a pure room has no use for: they take bytes and return values.
const IMPURE: &[&str] = &["tokio", "hyper", "hyper_util", "rustls", "tracing", "std::fs", "std::net", "std::env"];

/// Where files may be touched: a room, and how its files that do so begin.
const FILES: &[(&str, &[&str])] = &[
    ("cache", &["disk", "local"]),
    ("upstream", &["files"]),
    ("config", &["file"]),
    ("tls", &["files"]),
    ("telemetry", &["process"]),
    ("server", &["bind"]),
    ("admin", &["socket"]),
    ("cli", &[""]),
];

/// `serde_yaml` is archived: one rename in Cargo.toml and these files replace it.
const YAML_FILES: usize = 2;

/// Past this, a file has two subjects.
const MAX_LINES: usize = 500;

#[test]
fn a_room_imports_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        wrong.extend(source.climbs());
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_lowest_floor_is_pure() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| source.rank().is_some_and(|rank| rank < PURE)) {
        let named = IMPURE.iter().filter(|name| source.names(name));
        wrong.extend(named.map(|name| format!("{} is of the pure floor and names {name}", source.path)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_touched_where_the_table_says() {
    let wrong: Vec<_> = sources("src").iter().filter_map(Source::touches_files).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn few_files_know_serde_yaml() {
    let all = sources("src");
    let files: Vec<_> = all.iter().filter(|source| source.names("serde_yaml")).map(|source| &source.path).collect();
    assert!(files.len() <= YAML_FILES, "{files:?}");
}

#[test]
fn files_stay_small() {
    let long = ["src", "tests", "benches"].into_iter().flat_map(sources).filter(|source| source.lines > MAX_LINES);
    let long: Vec<_> = long.map(|source| format!("{} has {} lines", source.path, source.lines)).collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// A source file, seen as tokens.
struct Source {
    /// From the repository's top.
    path: String,
    lines: usize,
    tokens: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), lines: text.lines().count(), tokens: tokens(&code(text)) }
    }

    /// The room, for a file in one; `lib.rs` and `main.rs` may import anything.
    fn room(&self) -> Option<&str> {
        let (room, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(room)
    }

    fn rank(&self) -> Option<u8> {
        rank(self.room()?)
    }

    /// What this file imports against the table.
    fn climbs(&self) -> Vec<String> {
        let Some(room) = self.room() else { return Vec::new() };
        let Some(own) = rank(room) else { return vec![format!("{}: {room} is not in the table of rooms", self.path)] };
        let allowed = |other: &str| other == room || rank(other).is_some_and(|other| other < own);
        let imported = self.imports().into_iter().filter(|other| !allowed(other));
        imported.map(|other| format!("{} imports {other}", self.path)).collect()
    }

    /// The first step of every path from the crate's root, once each.
    fn imports(&self) -> Vec<String> {
        let mut imports = Vec::new();
        // The braces that are open; `true` for those of an inline module.
        let mut open = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            match self.token(at) {
                "{" => open.push(at >= 2 && self.token(at - 2) == "mod"),
                "}" => drop(open.pop()),
                "crate" => imports.extend(self.first_steps(at + 1)),
                "super" => {
                    let mut last = at;
                    while self.token(last + 1) == "::" && self.token(last + 2) == "super" {
                        last += 2;
                    }
                    let inline = open.iter().filter(|module| **module).count();
                    if (last - at) / 2 + 1 >= self.depth() + inline {
                        imports.extend(self.first_steps(last + 1));
                    }
                    at = last;
                }
                _ => {}
            }
            at += 1;
        }
        imports.sort();
        imports.dedup();
        imports
    }

    /// How many modules deep the file is: `crate::a` is 1.
    fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        inside.split('/').count()
    }

    /// What follows a root: `::name`, or each name in `::{name::…, name}`.
    fn first_steps(&self, at: usize) -> Vec<String> {
        match (self.token(at), self.token(at + 1)) {
            ("::", "{") => {}
            ("::", name) => return vec![name.to_owned()],
            // `pub(crate)`.
            _ => return Vec::new(),
        }
        let (mut steps, mut depth, mut at) = (Vec::new(), 0, at + 1);
        loop {
            match self.token(at) {
                "{" => depth += 1,
                "}" => depth -= 1,
                "" => break,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && matches!(self.token(at), "{" | ",") && is_name(self.token(at + 1)) {
                steps.push(self.token(at + 1).to_owned());
            }
            at += 1;
        }
        steps
    }

    fn touches_files(&self) -> Option<String> {
        let room = self.room()?;
        let file = self.path.rsplit('/').next()?;
        let beginnings = FILES.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, beginnings)| beginnings);
        let allowed = beginnings.iter().any(|beginning| file.starts_with(beginning));
        let touches = self.names("std::fs") || self.names("tokio::fs");
        (touches && !allowed).then(|| format!("{} touches files", self.path))
    }

    /// Whether a path or a single name stands in the code, also as `std::{fs, …}`.
    fn names(&self, path: &str) -> bool {
        let Some((root, name)) = path.split_once("::") else { return self.tokens.iter().any(|token| token == path) };
        let roots = self.tokens.iter().enumerate().filter(|(_, token)| *token == root);
        roots.map(|(at, _)| self.first_steps(at + 1)).any(|steps| steps.iter().any(|step| step == name))
    }

    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", String::as_str)
    }
}

fn rank(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(rank, _)| *rank)
}

/// Every Rust file below a top-level directory.
fn sources(top: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join(top), &mut files);
    let read = |file: PathBuf| {
        let path = file.strip_prefix(root).expect("a file below the root").to_string_lossy().into_owned();
        Source::new(&path, &fs::read_to_string(&file).expect("a source file"))
    };
    files.into_iter().map(read).collect()
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The source without comments and with empty literals.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let literal = literal_length(rest);
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_length(rest)
        } else if let Some(length) = literal {
            code.push_str("\"\"");
            length
        } else if first.is_alphanumeric() || first == '_' {
            // A whole word, so that the `r` in `for"` begins no raw string.
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            code.push_str(&rest[..length]);
            length
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    code
}

fn block_comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character literal that `text` begins with, if it does.
fn literal_length(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix).unwrap_or_default();
        let hashes = rest.trim_start_matches('#');
        rest.starts_with('"') || (prefix.ends_with('r') && rest.starts_with('#') && hashes.starts_with('"'))
    });
    let Some(prefix) = prefix else { return character_length(text) };
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let start = prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(start + text[start..].find(&end)? + end.len());
    }
    Some(start + escaped_length(&text[start..], '"')?)
}

/// `'x'` and `b'\n'`, but not the lifetime `'x`.
fn character_length(text: &str) -> Option<usize> {
    let start = if text.starts_with("b'") { 2 } else { 1 };
    let rest = text.strip_prefix("b'").or_else(|| text.strip_prefix('\''))?;
    let mut characters = rest.chars();
    let quoted = characters.next()? == '\\' || characters.next()? == '\'';
    quoted.then(|| escaped_length(rest, '\'').map(|length| start + length))?
}

/// Up to and with the closing quote.
fn escaped_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

mod tests {
    use super::*;

    fn imports(path: &str, text: &str) -> Vec<String> {
        Source::new(path, text).imports()
    }

    #[test]
    fn finds_imports_however_they_are_written() {
        assert_eq!(imports("src/oci/a.rs", "use crate::tar::Header;"), ["tar"]);
        assert_eq!(
            imports("src/oci/a.rs", "use crate::{gzip, cache::{self, Store}, tar::{x}};"),
            ["cache", "gzip", "tar"]
        );
        assert_eq!(imports("src/oci/a.rs", "fn f() -> crate::proxy::X { crate :: server::y() }"), ["proxy", "server"]);
        assert_eq!(imports("src/oci/a.rs", "pub(crate) fn f() {} pub(in crate::oci) fn g() {}"), ["oci"]);
        assert_eq!(imports("src/oci/a.rs", "use super::super::tar::X;"), ["tar"]);
        assert_eq!(imports("src/oci/mod.rs", "use super::tar::X; use super::{gzip::Y};"), ["gzip", "tar"]);
        assert_eq!(imports("src/oci/a/mod.rs", "use super::b; use super::super::super::tar;"), ["tar"]);
        let inline = "use super::b; mod tests { use super::super::c; use super::super::super::tar; } use super::d;";
        assert_eq!(imports("src/oci/a.rs", inline), ["tar"]);
    }

    #[test]
    fn sees_no_imports_in_comments_and_literals() {
        let text = r##"
            // crate::tar
            /* crate::tar /* crate::tar */ crate::tar */
            /// [`crate::tar`]
            const A: &str = "crate::tar \" crate::tar"; const B: &[u8] = b"crate::tar"; const Q: char = '"';
            const C: &str = r#"crate::tar " crate::tar"#; fn f<'a>(x: &'a str) -> char { '\'' }
            use crate::gzip;
        "##;
        assert_eq!(imports("src/oci/a.rs", text), ["gzip"]);
    }

    #[test]
    fn refuses_what_the_table_forbids() {
        for (path, text) in [
            ("src/oci/a.rs", "use crate::gzip;"),
            ("src/gzip/a.rs", "use crate::tar;"),
            ("src/imgpkg/a.rs", "use crate::rewrite;"),
            ("src/cache/a.rs", "use crate::upstream::Upstream;"),
            ("src/upstream/a.rs", "use crate::cache::Cache;"),
            ("src/body/a.rs", "use crate::config::Config;"),
            ("src/proxy/relocation/a.rs", "use crate::server;"),
            ("src/server/a.rs", "use crate::admin;"),
            ("src/attic/mod.rs", ""),
        ] {
            assert_eq!(Source::new(path, text).climbs().len(), 1, "{path}: {text}");
        }
        for (path, text) in [
            ("src/rewrite/a.rs", "use crate::{oci, gzip, tar, imgpkg, rewrite};"),
            ("src/cache/a.rs", "use crate::{body::Body, oci};"),
            ("src/cli/a.rs", "use crate::{server, admin, proxy, config, gzip};"),
            ("src/main.rs", "use crate::cli;"),
        ] {
            assert_eq!(Source::new(path, text).climbs(), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn refuses_impure_code_and_files_elsewhere() {
        let source = Source::new("src/gzip/a.rs", "use tokio::io; use std::{fmt, net::IpAddr};");
        assert!(source.names("tokio") && source.names("std::net") && !source.names("std::fs"));
        assert!(!Source::new("src/gzip/a.rs", "// tokio\nconst A: &str = \"tokio\";").names("tokio"));
        for (path, text, refused) in [
            ("src/cache/local.rs", "use std::fs;", false),
            ("src/cache/fill.rs", "use std::fs;", true),
            ("src/cache/fill.rs", "fn f() { std::fs::read(x) }", true),
            ("src/proxy/a.rs", "use tokio::{fs::File};", true),
            ("src/upstream/files/files_scan.rs", "use std::{fs, io};", false),
        ] {
            assert_eq!(Source::new(path, text).touches_files().is_some(), refused, "{path}: {text}");
        }
    }
}
