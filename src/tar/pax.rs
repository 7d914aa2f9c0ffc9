//! PAX extended header records: `LENGTH key=value\n`.

use super::error::TarError;

/// What the records of one extended header say about the next entry.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

impl Pax {
    /// Reads all records; the last of a repeated key wins, and an empty value takes it back, as in Go.
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, TarError> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or(TarError::Pax)?;
            records = rest;
            match key {
                b"path" => pax.path = (!value.is_empty()).then(|| value.to_vec()),
                b"size" if value.is_empty() => pax.size = None,
                b"size" => pax.size = Some(decimal(value).ok_or(TarError::Pax)?),
                // Sparse formats rename the entry and lay its data out anew, each reader in its way.
                key if key.starts_with(b"GNU.sparse.") => return Err(TarError::Sparse),
                _ => {}
            }
        }
        Ok(pax)
    }
}

fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    if length <= space + 1 || length > records.len() {
        return None;
    }
    let (record, rest) = records.split_at(length);
    let body = record[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    let nul = |field: &[u8]| field.contains(&0);
    // A name with NUL would end at different places for different readers.
    if key.is_empty() || nul(key) || (key == b"path" && nul(value)) { None } else { Some((key, value, rest)) }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |value, &digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_by_their_length() {
        let pax = Pax::parse(b"12 path=a=b\n11 size=17\n6 x=y\n").expect("valid");
        assert_eq!((pax.path.as_deref(), pax.size), (Some(&b"a=b"[..]), Some(17)));
        for bad in [&b"path=a"[..], b"99 path=a\n", b"9 path=a", b"3 \n", b"5 =a\n", b"10 path=\0a\n"] {
            assert!(matches!(Pax::parse(bad), Err(TarError::Pax)), "{bad:?}");
        }
        assert!(matches!(Pax::parse(b"22 GNU.sparse.major=1\n"), Err(TarError::Sparse)));
    }
}
