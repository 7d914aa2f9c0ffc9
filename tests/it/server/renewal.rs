//! Certificates that are renewed while the proxy serves.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use colocate::tls::{Reload, ServerTls};
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use super::authority::{Authority, Files, client, connect, shown};
use super::serving::{LOOPBACK, Serving, base, parts};
use crate::support::log::Log;

const KEPT: &str = "the TLS files cannot be used";

async fn serve(tls: &ServerTls) -> Serving {
    let mut parts = parts();
    parts.tls = Some(tls.clone());
    Serving::start(&[LOOPBACK], parts).await
}

fn any_client(authority: &Authority) -> Arc<ClientConfig> {
    Arc::new(client(authority, &[&TLS12, &TLS13], None))
}

#[tokio::test]
async fn new_handshakes_see_the_new_certificate_and_old_connections_go_on() {
    let authority = Authority::new();
    let (first, second) = (authority.server(), authority.server());
    let directory = tempfile::tempdir().unwrap();
    let files = Files::write(directory.path(), &first);
    let tls = ServerTls::load(files.plain()).unwrap();
    let serving = serve(&tls).await;
    let config = any_client(&authority);
    let mut old = connect(serving.tcp(), &config).await.unwrap();
    base(&mut old).await.unwrap();
    assert_eq!((shown(&old), tls.reload()), (first.certificate.der().clone(), Reload::Unchanged));

    Files::write(directory.path(), &second);
    assert_eq!((tls.reload(), tls.reload()), (Reload::Reloaded, Reload::Unchanged));
    let mut new = connect(serving.tcp(), &config).await.unwrap();
    assert_eq!(&shown(&new), second.certificate.der());
    for stream in [&mut old, &mut new] {
        base(stream).await.unwrap();
    }
}

// One thread, so that the log of this test is its own.
#[tokio::test]
async fn half_a_change_or_a_broken_one_changes_nothing_and_is_told_once() {
    let authority = Authority::new();
    let (first, second) = (authority.server(), authority.server());
    let directory = tempfile::tempdir().unwrap();
    let files = Files::write(directory.path(), &first);
    files.ca(&authority.pem());
    let tls = ServerTls::load(files.with_clients(false)).unwrap();
    let serving = serve(&tls).await;
    let config = any_client(&authority);
    let (log, _capture) = Log::capture("colocate=info");
    let kept = async |told: usize| {
        assert_eq!([tls.reload(), tls.reload(), tls.reload()], [Reload::Kept; 3]);
        assert_eq!(log.count(KEPT), told, "{}", log.text());
        assert_eq!(&shown(&connect(serving.tcp(), &config).await.unwrap()), first.certificate.der());
    };

    files.certificate(&second.certificate.pem());
    kept(1).await;
    // Of the same kind, though the bytes are others.
    files.certificate(&authority.server().certificate.pem());
    kept(1).await;
    files.certificate("hello");
    kept(2).await;
    fs::remove_file(files.0.join("tls.crt")).unwrap();
    kept(3).await;
    files.certificate(&first.certificate.pem());
    files.ca("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    kept(4).await;
    // Whole again, so that the next trouble is news.
    files.ca(&authority.pem());
    assert_eq!(tls.reload(), Reload::Unchanged);
    files.key(&second.key.serialize_pem());
    kept(5).await;
    files.certificate(&second.certificate.pem());
    assert_eq!(tls.reload(), Reload::Reloaded);
    assert_eq!(&shown(&connect(serving.tcp(), &config).await.unwrap()), second.certificate.der());
    assert_eq!(log.count("changed TLS files"), 1);
}

#[tokio::test]
async fn a_mounted_secret_changes_by_one_link() {
    let authority = Authority::new();
    let (first, second) = (authority.server(), authority.server());
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path();
    for (version, issued) in [("..1", &first), ("..2", &second)] {
        fs::create_dir(mount.join(version)).unwrap();
        Files::write(&mount.join(version), issued);
    }
    symlink("..1", mount.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
    }
    let tls = ServerTls::load(Files(mount.to_owned()).plain()).unwrap();
    let serving = serve(&tls).await;
    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    fs::remove_dir_all(mount.join("..1")).unwrap();
    assert_eq!(tls.reload(), Reload::Reloaded);
    let stream = connect(serving.tcp(), &any_client(&authority)).await.unwrap();
    assert_eq!(&shown(&stream), second.certificate.der());
}

#[tokio::test(start_paused = true)]
async fn a_server_looks_by_itself_while_it_runs() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let tls = ServerTls::load(Files::write(directory.path(), &authority.server()).plain()).unwrap();
    let serving = serve(&tls).await;
    let before = tls.config();
    Files::write(directory.path(), &authority.server());
    while Arc::ptr_eq(&before, &tls.config()) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    serving.stop().await.unwrap();
}

// One thread, so that the log of this test is its own.
#[tokio::test]
async fn a_certificate_at_its_end_is_told_once() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let ending = |at: SystemTime| authority.issue(KeyPair::generate().unwrap(), |params| params.not_after = at.into());
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    let (log, _capture) = Log::capture("colocate=info");
    let told = || (log.count("expires within 7 days"), log.count("has expired"));

    let tls = ServerTls::load(Files::write(directory.path(), &ending(now + 3 * day)).plain()).unwrap();
    assert_eq!((tls.reload(), told()), (Reload::Unchanged, (1, 0)));
    Files::write(directory.path(), &ending(now + 30 * day));
    assert_eq!((tls.reload(), told()), (Reload::Reloaded, (1, 0)));
    Files::write(directory.path(), &ending(now - day));
    assert_eq!((tls.reload(), tls.reload(), told()), (Reload::Reloaded, Reload::Unchanged, (1, 1)));
}

#[tokio::test]
async fn files_that_cannot_be_served_with_are_named() {
    let authority = Authority::new();
    let (one, other) = (authority.server(), authority.server());
    let directory = tempfile::tempdir().unwrap();
    let files = Files::write(directory.path(), &one);
    files.ca(&authority.pem());
    let refused = || {
        let error = ServerTls::load(files.with_clients(true)).unwrap_err();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    };
    files.key(&other.key.serialize_pem());
    let text = refused();
    assert!(text.contains("tls.key is not that of the first certificate in") && text.contains("tls.crt"), "{text}");
    // As of an environment variable that lost its line ends: nothing of it may be quoted.
    let flat = one.key.serialize_pem().replace('\n', " ");
    files.key(&flat);
    let text = refused();
    assert!(text.contains("tls.key holds no whole private key"), "{text}");
    assert!(!text.contains(&flat[40..60]) && !text.contains("66, 69, 71"), "{text}");
    files.key(&one.certificate.pem());
    assert!(refused().contains("tls.key holds no whole private key"));
    files.key(&one.key.serialize_pem());

    files.ca("nothing");
    assert!(refused().contains("ca.crt holds no certificate"));
    files.ca(&"x".repeat((1 << 20) + 1));
    assert!(refused().contains("ca.crt is larger than 1024 KiB"));
    fs::remove_file(directory.path().join("ca.crt")).unwrap();
    assert!(refused().contains("ca.crt cannot be read"));
    fs::create_dir(directory.path().join("ca.crt")).unwrap();
    assert!(refused().contains("ca.crt is no regular file"));
}
