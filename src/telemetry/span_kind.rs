//! The kinds of pieces that a trace has.

/// What a piece of work is to its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request to somebody else.
    Client,
    /// Something done here.
    Internal,
}
