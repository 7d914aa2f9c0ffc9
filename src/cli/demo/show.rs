//! Text for a terminal.

use std::env;
use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::oci::{Digest, RepositoryName, Tag};

/// What a terminal has that does not say; also what a file or pipe gets.
const DEFAULT_WIDTH: usize = 120;
/// Narrower columns would show nothing; the lines then wrap as the terminal likes.
const MIN_COLUMN: usize = 24;
/// Wide enough for a reference with its digest on one line.
const MAX_COLUMN: usize = 120;

/// How many columns there are to write in.
pub(super) fn terminal_width() -> usize {
    let said = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    said.or_else(measured).filter(|columns| *columns > 0).unwrap_or(DEFAULT_WIDTH)
}

/// Two texts next to each other in `width` columns, equal lines level, with a `|` between those that differ.
/// Each comes with its title.
pub(super) fn side_by_side(left: (&str, &str), right: (&str, &str), width: usize) -> String {
    let longest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let wanted = longest(left.1).max(longest(right.1)).max(left.0.chars().count()).max(right.0.chars().count());
    let column = (width.saturating_sub(3) / 2).min(wanted).clamp(MIN_COLUMN, MAX_COLUMN);
    let mut shown = String::new();
    let mut row = |left: &str, mark: char, right: &str| {
        let (left, right) = (wrap(left, column), wrap(right, column));
        for index in 0..left.len().max(right.len()) {
            let cell = |cells: &[String]| cells.get(index).cloned().unwrap_or_default();
            let line = format!("{:<column$} {mark} {}", cell(&left), cell(&right));
            // Writing to a String does not fail.
            let _ = writeln!(shown, "{}", line.trim_end());
        }
    };
    row(left.0, ' ', right.0);
    row(&"-".repeat(column), ' ', &"-".repeat(column));
    for (left, right) in level(left.1, right.1) {
        let mark = if left == right { ' ' } else { '|' };
        row(left.unwrap_or_default(), mark, right.unwrap_or_default());
    }
    shown
}

/// Pairs the lines of two texts along a longest common subsequence. Quadratic, for texts of some dozen lines.
fn level<'a>(left: &'a str, right: &'a str) -> Vec<(Option<&'a str>, Option<&'a str>)> {
    let (left, right): (Vec<_>, Vec<_>) = (left.lines().collect(), right.lines().collect());
    // common[i][j]: how many lines left[i..] and right[j..] can share.
    let mut common = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i][j] =
                if left[i] == right[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    loop {
        // The lines up to the next shared one stand next to each other as they come.
        let (from_left, from_right) = (i, j);
        while i < left.len() && j < right.len() && left[i] != right[j] {
            if common[i + 1][j] >= common[i][j + 1] { i += 1 } else { j += 1 }
        }
        let shared = i < left.len() && j < right.len();
        if !shared {
            (i, j) = (left.len(), right.len());
        }
        let (only_left, only_right) = (&left[from_left..i], &right[from_right..j]);
        let rows = only_left.len().max(only_right.len());
        pairs.extend((0..rows).map(|row| (only_left.get(row).copied(), only_right.get(row).copied())));
        if !shared {
            return pairs;
        }
        pairs.push((Some(left[i]), Some(right[j])));
        (i, j) = (i + 1, j + 1);
    }
}

/// A line in pieces of at most `width` characters, later ones indented below the first. A reference breaks before
/// its digest if it can.
fn wrap(line: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    let characters: Vec<char> = line.chars().collect();
    if characters.len() <= width {
        return vec![line.to_owned()];
    }
    let digest = characters[..width].iter().rposition(|&character| character == '@').map(|at| at + 1);
    let (first, rest) = characters.split_at(digest.unwrap_or(width));
    let later = rest.chunks(width - INDENT.len()).map(|piece| INDENT.chars().chain(piece.iter().copied()).collect());
    std::iter::once(first.iter().collect()).chain(later).collect()
}

/// Commands to try against the running demo.
pub(super) fn what_next(
    address: SocketAddr,
    admin: Option<SocketAddr>,
    repository: &RepositoryName,
    tag: &Tag,
    original: &Digest,
) -> String {
    let image = format!("{address}/{repository}");
    let mut text = String::from("\nStill serving; Ctrl-C stops. Try, from another terminal:\n\n");
    for (what, command) in [
        ("The bundle, with imgpkg:", format!("imgpkg pull -b {image}:{tag} -o guestbook --registry-insecure")),
        ("The same, with skopeo:", format!("skopeo copy --src-tls-verify=false docker://{image}:{tag} dir:guestbook")),
        ("The relocated digest, with crane:", format!("crane digest --insecure {image}:{tag}")),
        ("The bundle as it was pushed:", format!("curl http://{address}/v2/{repository}/manifests/{original}")),
        ("All tags:", format!("curl http://{address}/v2/{repository}/tags/list")),
    ] {
        let _ = writeln!(text, "  {what}\n    {command}");
    }
    if let Some(admin) = admin {
        let _ = writeln!(text, "  What was counted:\n    curl http://{admin}/metrics");
        let _ = writeln!(text, "  The status page, in a browser:\n    http://{admin}/");
    }
    text.push_str(
        "\nIn front of your own registry:\n    \
         colocate serve --upstream https://REGISTRY --listen 127.0.0.1:8080 --cache DIR\n",
    );
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_are_marked_and_long_ones_wrapped() {
        let left = ("before", "same\nkind: k\nlist\n- a\n");
        let right = ("after", "same\nlist\n- registry.example@sha256:0123456789\nkind: k\n");
        let shown = side_by_side(left, right, 51);
        let expected = "\
before                     after
------------------------   ------------------------
same                       same
kind: k                  |
list                       list
- a                      | - registry.example@
                         |     sha256:0123456789
                         | kind: k
";
        assert_eq!(shown, expected);
        assert!(side_by_side(left, right, 200).lines().all(|line| line.len() < 90));
        assert!(side_by_side(left, right, 1).lines().count() > 3);
        assert_eq!(side_by_side(("a", "x"), ("b", ""), 60).lines().last().unwrap(), "x                        |");
    }
}
