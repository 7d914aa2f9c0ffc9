//! How single settings read: durations, sizes, counts, secrets, files.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::file::{self, FileError, SmallFile};

/// The longest duration taken: whoever wants more means "for ever", and deadlines must stay addable to a clock.
const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A text that no log or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// `20s`, `1m 30s`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text);
    parsed.ok().filter(|duration| *duration <= MAX_DURATION).ok_or_else(|| {
        format!(
            "`{text}` is not a duration; write a number and a unit, such as 20s, 500ms or 1m 30s, at most ten years"
        )
    })
}

/// `64KiB`, `10GiB`, `1GB` or a number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let factor: Option<u64> = match unit.trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        "kB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("`{text}` is not a size; write a whole number and a unit, such as 64KiB or 10GiB"))
}

/// A whole number from 1.
pub(super) fn count(text: &str) -> Result<usize, String> {
    // A semaphore of tokio's, which most of these become, holds no more.
    let most = usize::MAX >> 3;
    let number = text.parse::<usize>().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a whole number from 1 up"))
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

/// A small text file, with a reason that helps.
pub(super) fn read_file(path: &Path, cap: u64) -> Result<String, String> {
    text(path, SmallFile::read(path, cap).map(|file| file.bytes))
}

/// One that may be a pipe.
pub(super) fn read_piped(path: &Path, cap: u64) -> Result<String, String> {
    text(path, file::read_once(path, cap))
}

fn text(path: &Path, read: Result<Zeroizing<Vec<u8>>, FileError>) -> Result<String, String> {
    let bytes = read.map_err(|err| match err {
        FileError::Read { source, .. } => format!("cannot read {}: {source}", path.display()),
        err => err.to_string(),
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{} is no text in UTF-8", path.display()))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("64KiB", 65_536), ("10 GiB", 10 << 30), ("1GB", 1_000_000_000), ("7B", 7)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "KiB", "1.5GiB", "1gib", "-1", "99999999TiB", "1 2"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_and_counts() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "20", "s", "-1s", "100000y"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(count("1"), Ok(1));
        for bad in ["0", "-1", "1.0", "many", "18446744073709551615"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "[secret]");
    }
}
