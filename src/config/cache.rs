//! The section `cache`.

use std::path::PathBuf;
use std::time::Duration;

use super::checker::{Checker, directory, positive};
use super::raw;
use super::values;

/// Where content is kept, and how much of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheConfig {
    /// The directory.
    pub dir: PathBuf,
    /// Bytes of memory for what is asked for most.
    pub memory: u64,
    /// Downloads at one time.
    pub max_fills: usize,
    /// How much the content may take; as much as the disk has, without.
    pub bounds: Option<CacheBounds>,
    /// What becomes of a download that nobody waits for any more.
    pub finish_abandoned: FinishAbandoned,
    /// In what time all content is hashed once; `None` if it is not.
    pub scrub: Option<Duration>,
}

/// How much the content may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBounds {
    /// At most.
    pub max: u64,
    /// Above this, content is evicted.
    pub high: u64,
    /// Down to this.
    pub low: u64,
}

/// What becomes of a download that nobody waits for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishAbandoned {
    /// It goes on.
    Always,
    /// It goes on if so many percent are there.
    IfStartedOver(u8),
    /// It stops.
    Never,
}

impl Checker {
    pub(super) fn cache(&mut self, raw: raw::Cache) -> CacheConfig {
        let max = self.setting("cache.max_bytes", raw.max_bytes, "none", |text| match text {
            "none" => Ok(None),
            text => match values::size(text)? {
                // Of less, the watermarks are hardly apart.
                0..1024 => Err(format!("`{text}` would keep nothing; write a size such as 100GiB, or `none`")),
                max => Ok(Some(max)),
            },
        });
        let high = self.setting("cache.high_watermark", raw.high_watermark, "95%", percent);
        let low = self.setting("cache.low_watermark", raw.low_watermark, "85%", percent);
        if low >= high {
            self.problem("cache.low_watermark", "must be below `cache.high_watermark`: eviction goes down to it");
        }
        let part = |max: u64, percent: u8| u64::try_from(u128::from(max) * u128::from(percent) / 100).unwrap_or(max);
        CacheConfig {
            dir: self.setting("cache.dir", raw.dir, "/var/lib/colocate", directory),
            memory: self.setting("cache.memory", raw.memory, "64MiB", values::size),
            max_fills: self.setting("cache.max_fills", raw.max_fills, "64", values::count),
            bounds: max.map(|max| CacheBounds { max, high: part(max, high), low: part(max, low) }),
            finish_abandoned: self.finish_abandoned(raw.finish_abandoned),
            scrub: self.setting("cache.scrub", raw.scrub, "30d", |text| match text {
                "never" => Ok(None),
                text => positive(text).map(Some),
            }),
        }
    }

    fn finish_abandoned(&mut self, raw: Option<raw::FinishAbandoned>) -> FinishAbandoned {
        let path = "cache.finish_abandoned";
        let word = match raw {
            None => "always".to_owned(),
            Some(raw::FinishAbandoned::Word(word)) => word,
            Some(raw::FinishAbandoned::Over(over)) => {
                let path = "cache.finish_abandoned.if_started_over";
                return FinishAbandoned::IfStartedOver(self.setting(path, over.if_started_over, "0%", percent));
            }
        };
        match word.as_str() {
            "always" => FinishAbandoned::Always,
            "never" => FinishAbandoned::Never,
            other => {
                let message = format!("`{other}` is none of always, never and `if_started_over: 50%` on its own line");
                self.problem(path, message);
                FinishAbandoned::Always
            }
        }
    }
}

/// `85%`, from 0 to 100.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<u8>().ok());
    number.filter(|percent| *percent <= 100).ok_or_else(|| format!("`{text}` is not a share such as 85%"))
}
