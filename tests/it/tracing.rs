//! What can be seen of a request afterwards: its id and its trace, here and at the upstream, the lines that tell of it, and the
//! spans that a collector gets.

mod ids;
mod lines;
mod otlp;
mod protobuf;

use std::time::Duration;

use serde_json::Value;

use crate::support::colocate::{Colocate, Settings};
use crate::support::eventually;

/// How long a line may take that is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, which tells everything it can, as JSON.
async fn start(settings: Settings) -> Colocate {
    Colocate::start(settings.set("log.format", "json")).await
}

/// Every line so far, which has to be JSON.
fn lines(colocate: &Colocate) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    // One that is being written counts when it is whole.
    colocate.log().split_inclusive('\n').filter(|line| line.ends_with('\n')).map(parse).collect()
}

/// The lines with this message.
fn told(colocate: &Colocate, message: &str) -> Vec<Value> {
    lines(colocate).into_iter().filter(|line| line["message"] == message).collect()
}

/// Waits until the request of this name is over, and gives its access line.
async fn access(colocate: &Colocate, id: &str) -> Value {
    let find = || told(colocate, "request").into_iter().filter(|line| line["request_id"] == id).collect::<Vec<_>>();
    eventually(&format!("the line of {id}"), PATIENCE, async || !find().is_empty()).await;
    let mut found = find();
    assert_eq!(found.len(), 1, "one line for one request: {found:?}");
    found.remove(0)
}
