//! Somebody else's words in a message.

/// How much of an upstream's header comes back in a message.
const MAX_QUOTED_CHARS: usize = 80;

/// What an upstream sent, short enough and safe enough for a message.
pub(super) fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).flat_map(char::escape_default).collect()
}
