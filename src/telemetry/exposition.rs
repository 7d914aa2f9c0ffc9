//! Metrics in the format that who asks can read.
//!
//! Prometheus asks for OpenMetrics since version 2.5; `promtool check metrics`, `curl` and older scrapers read the text
//! format that was before it (version 0.0.4). The second is made of the first, since they differ in few lines: a
//! counter's family is called as its sample, there is no `info`, and there are neither units nor an end mark.

use http::HeaderMap;
use http::header::ACCEPT;

use super::Metrics;

/// OpenMetrics, as it is written here.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The format before it.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics, and the type they are written in.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// For `Content-Type`.
    pub content_type: &'static str,
    /// The text.
    pub text: String,
}

impl Metrics {
    /// All metrics, in the format that a request's headers ask for.
    pub fn expose(&self, headers: &HeaderMap) -> Exposition {
        let text = self.encode();
        if wants_open_metrics(headers) {
            Exposition { content_type: OPEN_METRICS, text }
        } else {
            Exposition { content_type: CLASSIC, text: classic(&text) }
        }
    }
}

/// Whether OpenMetrics is named, and the older text is not wanted more. Who takes anything gets the older one: it is what
/// can be read without knowing.
fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let (mut open, mut plain) = (0.0_f64, 0.0_f64);
    let values = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let wanted = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => &mut open,
            "text/plain" => &mut plain,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        *wanted = wanted.max(quality.map_or(1.0, |quality| quality.trim().parse().unwrap_or(0.0)));
    }
    open > 0.0 && open >= plain
}

/// OpenMetrics text, as written here, in the older format.
fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut line = |parts: &[&str]| {
        parts.iter().for_each(|part| text.push_str(part));
        text.push('\n');
    };
    // What a family is called is known with its type, which comes after its help.
    let mut help = "";
    for written in open_metrics.lines() {
        let Some(comment) = written.strip_prefix("# ") else {
            line(&[written]);
            continue;
        };
        let (keyword, rest) = comment.split_once(' ').unwrap_or((comment, ""));
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match keyword {
            "HELP" => help = rest,
            "TYPE" => {
                let (suffix, kind) = match rest {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                line(&["# HELP ", name, suffix, " ", help]);
                line(&["# TYPE ", name, suffix, " ", kind]);
            }
            // Units, and the end.
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_says_the_same() {
        let open_metrics = "# HELP a_bytes What came.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                            a_bytes_total{x=\"# HELP\"} 1\n\
                            # HELP b What runs.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                            # HELP c_seconds How long.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\n\
                            c_seconds_sum 1.5\nc_seconds_count 1\nc_seconds_bucket{le=\"+Inf\"} 1\n\
                            # HELP d Something.\n# TYPE d unknown\nd 1\n\
                            # HELP e How many.\n# TYPE e gauge\ne 1\n# EOF\n";
        let expected = "# HELP a_bytes_total What came.\n# TYPE a_bytes_total counter\n\
                        a_bytes_total{x=\"# HELP\"} 1\n\
                        # HELP b_info What runs.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
                        # HELP c_seconds How long.\n# TYPE c_seconds histogram\n\
                        c_seconds_sum 1.5\nc_seconds_count 1\nc_seconds_bucket{le=\"+Inf\"} 1\n\
                        # HELP d Something.\n# TYPE d untyped\nd 1\n\
                        # HELP e How many.\n# TYPE e gauge\ne 1\n";
        assert_eq!(classic(open_metrics), expected);
    }

    #[test]
    fn who_asks_decides() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, open) in [
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", true),
            ("text/plain, application/openmetrics-text", true),
            ("text/plain;version=0.0.4, application/openmetrics-text;q=0.9", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=nonsense", false),
            ("text/plain", false),
            ("*/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().expect("a header"));
            let told = Metrics::new().expose(&headers);
            assert_eq!(told.content_type.starts_with("application/openmetrics-text"), open, "{accept}");
            assert_eq!(told.text.ends_with("# EOF\n"), open, "{accept}");
        }
        assert_eq!(Metrics::new().expose(&HeaderMap::new()).content_type, CLASSIC);
    }
}
