//! The units of config/systemd, as systemd's own tool reads them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::colocate::BINARY;
use crate::support::process::{Finished, attempt};
use crate::support::require;

/// How exposed systemd may find it, in tenths: it has the network, and that alone is 1.0.
const EXPOSURE: &str = "15";

const SERVICE: &str = "colocate.service";
const CREDENTIALS: &str = "colocate.service.d/credentials.conf";

/// The units where systemd finds them together, with the program where it is; each file after `change`.
fn units(change: impl Fn(&str, String) -> String) -> TempDir {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd");
    let directory = TempDir::new().expect("a directory for units");
    fs::create_dir(directory.path().join("colocate.service.d")).expect("a directory for drop-ins");
    for name in [SERVICE, "colocate.socket", CREDENTIALS] {
        let text = fs::read_to_string(source.join(name)).expect("a unit");
        let text = change(name, text.replace("/usr/bin/colocate", BINARY));
        fs::write(directory.path().join(name), text).expect("a unit");
    }
    directory
}

async fn verify(units: &TempDir) -> Finished {
    let path = |name: &str| units.path().join(name).display().to_string();
    attempt("systemd-analyze", &["verify", "--man=no", &path(SERVICE), &path("colocate.socket")]).await
}

async fn security(units: &TempDir, threshold: &str) -> Finished {
    let threshold = format!("--threshold={threshold}");
    let service = units.path().join(SERVICE).display().to_string();
    attempt("systemd-analyze", &["security", "--offline=true", "--no-pager", &threshold, &service]).await
}

#[tokio::test]
async fn systemd_takes_the_units_without_a_word() {
    if !require(&["systemd-analyze", "kill"]) {
        return;
    }
    let verified = verify(&units(|_, text| text)).await;
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    // It would have told.
    for (file, right, wrong) in [
        (SERVICE, "ProtectSystem=strict", "ProtectSystems=strict"),
        (SERVICE, BINARY, "/usr/bin/not-colocate"),
        (SERVICE, "SystemCallFilter=@system-service", "SystemCallFilter=@systems-service"),
        ("colocate.socket", "ListenStream=", "ListenStreams="),
        (CREDENTIALS, "LoadCredential=", "LoadCredentials="),
    ] {
        let change = |name: &str, text: String| if name == file { text.replace(right, wrong) } else { text };
        let verified = verify(&units(change)).await;
        assert!(!verified.stderr.is_empty(), "{wrong}: {verified:?}");
    }
}

#[tokio::test]
async fn systemd_finds_little_that_the_service_could_do_without() {
    if !require(&["systemd-analyze"]) {
        return;
    }
    let units = units(|_, text| text);
    let found = security(&units, EXPOSURE).await;
    assert!(found.status.success(), "{found:?}");
    assert!(!security(&units, "5").await.status.success(), "a threshold is a threshold");
}
