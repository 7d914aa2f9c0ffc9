//! What a task tells, for people or as JSON.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant, UNIX_EPOCH};

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

use crate::proxy::{Amount, Event, Exported, ExportedRoot, ListedContent, Progress, Stats, Warmed};

/// How often progress gets a line where there is no terminal to move a bar on.
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR: &str = "{spinner} [{bar:32}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg}";

/// Where events are shown: results on stdout, progress and problems on stderr.
pub(super) struct Screen {
    json: bool,
    bar: Option<ProgressBar>,
    last_line: Instant,
    listed: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        let bar = (!json && io::stderr().is_terminal()).then(ProgressBar::no_length);
        if let (Some(bar), Ok(style)) = (&bar, ProgressStyle::with_template(BAR)) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { json, bar, last_line: Instant::now(), listed: false }
    }

    pub(super) fn show(&mut self, event: &Event) -> io::Result<()> {
        // Those are for a file.
        if matches!(event, Event::Piece { .. }) {
            return Ok(());
        }
        if self.json {
            let mut line = serde_json::to_string(event)?;
            line.push('\n');
            return io::stdout().write_all(line.as_bytes());
        }
        match event {
            Event::Progress(progress) => self.progress(progress),
            Event::Planned { kept: 0, .. } => Ok(()),
            Event::Problem { .. } | Event::Planned { .. } => {
                self.beside_the_bar(|| writeln!(io::stderr(), "{}", line(event)))
            }
            Event::End { .. } => {
                self.bar.iter().for_each(ProgressBar::finish_and_clear);
                Ok(())
            }
            _ => {
                let mut text = line(event);
                if matches!(event, Event::Content(_)) && !std::mem::replace(&mut self.listed, true) {
                    text.insert_str(0, HEADING);
                }
                self.beside_the_bar(|| writeln!(io::stdout(), "{text}"))
            }
        }
    }

    fn progress(&mut self, progress: &Progress) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.known_bytes);
            bar.set_message(format!("{} of {}", progress.done, progress.known));
            bar.set_position(progress.done_bytes);
            return Ok(());
        }
        if self.last_line.elapsed() < LINE_EVERY {
            return Ok(());
        }
        self.last_line = Instant::now();
        writeln!(io::stderr(), "{}", line(&Event::Progress(*progress)))
    }

    fn beside_the_bar(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

const HEADING: &str = "DIGEST                                                                         SIZE  LAST USE              \
                       STATE    REPOSITORIES\n";

/// An event as text, usually a line.
fn line(event: &Event) -> String {
    match event {
        Event::Progress(Progress { done, known, done_bytes, known_bytes }) => {
            format!("{done} of {known}, {} of {}", BinaryBytes(*done_bytes), BinaryBytes(*known_bytes))
        }
        Event::Warmed(warmed) => warm(warmed),
        Event::Pinned { repository, reference, contents } => {
            format!("pinned {}: {contents} manifests and blobs", name(repository, reference))
        }
        Event::Planned { entries, bytes, kept, kept_bytes } => {
            let (bytes, kept_bytes) = (BinaryBytes(*bytes), BinaryBytes(*kept_bytes));
            format!("{kept} of {entries} files are there, {kept_bytes} of {bytes}")
        }
        // Nobody reads them.
        Event::Piece { .. } => String::new(),
        Event::Exported(exported) => export(exported),
        Event::Unpinned { repository, reference } => format!("unpinned {}", name(repository, reference)),
        Event::Content(content) => listed(content),
        Event::Forgotten { repository, tag } => format!("forgot {repository}:{tag}"),
        Event::Removed { digest, bytes } => format!("removed {digest}, {}", BinaryBytes(*bytes)),
        Event::Spared { digest } => format!("left {digest}, which is pinned"),
        Event::Damaged { digest, bytes } => {
            format!("damaged and removed: {digest}, {}; it will be fetched again", BinaryBytes(*bytes))
        }
        Event::Verified { contents, bytes } => format!("{contents} right, {}", BinaryBytes(*bytes)),
        Event::Stats(shown) => stats(shown),
        Event::Problem { subject, problem } => format!("{subject}: {problem}"),
        Event::End { problems } => format!("{problems} problems"),
    }
}

fn name(repository: impl std::fmt::Display, reference: &str) -> String {
    format!("{repository}{}{reference}", if reference.contains(':') { '@' } else { ':' })
}

fn warm(warmed: &Warmed) -> String {
    let Warmed { repository, reference, digest, stale, relocated, reason, manifests, blobs, bytes } = warmed;
    let (name, size) = (name(repository, reference), BinaryBytes(*bytes));
    let mut text = format!("warm: {name}, {manifests} manifests and {blobs} blobs, {size}\n  original   {digest}");
    // Writing to a String does not fail.
    if let Some(relocated) = relocated {
        let _ = write!(text, "\n  relocated  {relocated}");
    }
    if let Some(reason) = reason {
        let _ = write!(text, "\n  not relocated: {reason}");
    }
    if *stale {
        text.push_str(STALE);
    }
    text
}

const STALE: &str = "\n  as it was when the registry was last asked; it cannot be asked now";

fn export(exported: &Exported) -> String {
    let Exported { roots, manifests, entries, bytes } = exported;
    let mut text = format!("exported: {manifests} manifests, {entries} files, {}", BinaryBytes(*bytes));
    for ExportedRoot { name: repository, reference, digest, stale } in roots {
        let _ = write!(text, "\n  {}  {digest}", name(repository, reference));
        if *stale {
            text.push_str(STALE);
        }
    }
    text
}

fn listed(content: &ListedContent) -> String {
    let ListedContent { digest, bytes, used, pins, kept, repositories } = content;
    // A time beyond all times is no time at which anything was used.
    let used = UNIX_EPOCH.checked_add(Duration::from_secs(*used)).unwrap_or(UNIX_EPOCH);
    let used = humantime::format_rfc3339_seconds(used);
    let state = match (pins.as_slice(), kept) {
        ([], true) => "kept",
        ([], false) => "-",
        (_, _) => "pinned",
    };
    let repositories: Vec<String> = repositories.iter().map(ToString::to_string).collect();
    let size = BinaryBytes(*bytes).to_string();
    let mut text = format!("{digest}  {size:>10}  {used}  {state:<7}  {}", repositories.join(", "));
    if !pins.is_empty() {
        let _ = write!(text, "  (pinned: {})", pins.join(", "));
    }
    text
}

fn stats(stats: &Stats) -> String {
    let Stats { contents, arriving_bytes, pinned, kept, bound, records, disk } = stats;
    let amount = |amount: &Amount| format!("{}, {}", amount.count, BinaryBytes(amount.bytes));
    let mut text = format!("contents   {}", amount(contents));
    let mut row = |name: &str, value: String| text.push_str(&format!("\n{name:<10} {value}"));
    row("arriving", BinaryBytes(*arriving_bytes).to_string());
    row("pinned", amount(pinned));
    row("kept", amount(kept));
    row(
        "bound",
        match bound {
            None => "none".to_owned(),
            Some(bound) => {
                let (max, high, low) = (BinaryBytes(bound.max), BinaryBytes(bound.high), BinaryBytes(bound.low));
                format!("{max}; above {high}, content is evicted down to {low}")
            }
        },
    );
    if let Some(disk) = disk {
        row("disk", format!("{} free of {}", BinaryBytes(disk.free), BinaryBytes(disk.total)));
    }
    for (kind, count) in records {
        row("records", format!("{kind}: {count}"));
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn content_stands_below_its_heading() {
        let content = ListedContent {
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            bytes: 3 << 20,
            used: 86_400,
            pins: vec!["acme/app:v1".to_owned()],
            kept: true,
            repositories: vec!["acme/app".parse().unwrap(), "acme/b".parse().unwrap()],
        };
        let row = line(&Event::Content(content.clone()));
        let column = |name| HEADING.find(name).unwrap();
        assert_eq!(row.find("1970-01-02T00:00:00Z"), Some(column("LAST USE")));
        assert_eq!(row.find("3.00 MiB"), Some(column("SIZE") - 4), "{row}");
        assert_eq!(row.find("pinned "), Some(column("STATE")));
        assert_eq!(row.find("acme/app, acme/b"), Some(column("REPOSITORIES")));
        assert!(row.ends_with("(pinned: acme/app:v1)"));
        let row = line(&Event::Content(ListedContent { pins: Vec::new(), used: u64::MAX, ..content }));
        assert!(row.contains("  kept     acme/app"), "{row}");
    }

    #[test]
    fn what_was_pulled_is_told_with_what_it_came_to() {
        let mut warmed = Warmed {
            repository: "acme/app".parse().unwrap(),
            reference: format!("sha256:{}", "1".repeat(64)),
            digest: format!("sha256:{}", "1".repeat(64)).parse().unwrap(),
            stale: true,
            relocated: None,
            reason: Some("an image is missing".to_owned()),
            manifests: 2,
            blobs: 3,
            bytes: 1 << 10,
        };
        let text = line(&Event::Warmed(warmed.clone()));
        assert!(text.starts_with("warm: acme/app@sha256:1111"), "{text}");
        for part in [
            "2 manifests and 3 blobs, 1.00 KiB",
            "not relocated: an image is missing",
            "when the registry was last asked",
        ] {
            assert!(text.contains(part), "{text}");
        }
        warmed.stale = false;
        assert!(!line(&Event::Warmed(warmed)).contains("last asked"));
    }
}
