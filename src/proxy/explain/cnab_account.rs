//! What an explanation says of a CNAB bundle.

use std::fmt;

use serde::Serialize;

use crate::oci::Digest;

/// The longest text of somebody else's that is shown on a line, in characters.
const MAX_SHOWN: usize = 512;

/// A CNAB bundle.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedCnab {
    /// What it is called: by its `bundle.json`, or else by its index.
    pub name: String,
    /// Its version, likewise.
    pub version: String,
    /// The artifact with its relocation map, which is among the referrers of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relocation_map: Option<Digest>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its images, invocation images first.
    pub images: Vec<ExplainedCnabImage>,
}

/// An image of a CNAB bundle.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedCnabImage {
    /// The component that it is for; `None` of an invocation image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Where it came from, as `bundle.json` has it; `None` if that cannot be read.
    pub original: Option<String>,
    /// Where clients of this endpoint pull it; `None` if they cannot.
    pub location: Option<String>,
    /// `index`, `repository`, `origin`, `missing`, `undecided`, or `not named by digest`.
    pub found: &'static str,
    /// The repository that it is granted from, or that could not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Why it is undecided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it is not granted from where it came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
}

impl ExplainedCnab {
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  CNAB       {} {}", shown(&self.name), shown(&self.version))?;
        self.images.iter().try_for_each(|image| image.write(f))?;
        if let Some(map) = &self.relocation_map {
            writeln!(f, "  its map    {map} (a referrer of the original)")?;
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "  its map    is not made: {reason}")?;
        }
        Ok(())
    }
}

impl ExplainedCnabImage {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.component {
            None => writeln!(f, "  image      of the invocation")?,
            Some(name) => writeln!(f, "  image      of the component {}", shown(name))?,
        }
        if let Some(original) = &self.original {
            writeln!(f, "             original  {}", shown(original))?;
        }
        if let Some(location) = &self.location {
            writeln!(f, "             image     {location}")?;
        }
        match (self.found, &self.origin) {
            ("index", _) => {}
            ("repository", _) => writeln!(f, "             not in the index, but in the repository")?,
            ("origin", Some(origin)) => {
                writeln!(f, "             not in the index; granted from its origin, {origin}")?
            }
            ("undecided", _) => {
                let error = self.error.as_deref().unwrap_or("it was not looked for");
                writeln!(f, "             not in the index; undecided: {error}")?;
            }
            ("missing", _) => writeln!(f, "             neither in the index nor in the repository")?,
            (found, _) => writeln!(f, "             not in the index, and {found}")?,
        }
        self.elsewhere.iter().try_for_each(|elsewhere| writeln!(f, "             at {}", shown(elsewhere)))
    }
}

/// Somebody's text, on one line and of bearable length.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
