//! nginx, as it stands in front of many services: it takes off TLS and says what it took.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::certificates::Identity;
use super::process::{Process, free_address};
use super::{eventually, find};

/// A running one.
pub(crate) struct Nginx {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Nginx {
    /// In front of `upstream`, as `proxy_pass` has it: `http://127.0.0.1:80` or `http://unix:/path/of/socket:`.
    pub(crate) async fn start(server: &Identity, upstream: &str) -> Self {
        let directory = TempDir::new().expect("a directory for nginx");
        let path = |name: &str| directory.path().join(name);
        let address = free_address();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {};\n", path(kind).display()))
            .concat();
        let config = format!(
            "user root;\ndaemon off;\nmaster_process off;\npid {pid};\nerror_log stderr;\nevents {{}}\nhttp {{\n\
             {temporary}  access_log off;\n  server {{\n    listen {address} ssl;\n    ssl_certificate {certificate};\n    \
             ssl_certificate_key {key};\n    location / {{\n      proxy_pass {upstream};\n      \
             proxy_http_version 1.1;\n      proxy_set_header X-Forwarded-Host $http_host;\n      \
             proxy_set_header X-Forwarded-Proto $scheme;\n      \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n",
            pid = path("pid").display(),
            certificate = server.certificate.display(),
            key = server.key.display(),
        );
        let file = path("nginx.conf");
        fs::write(&file, config).expect("nginx's configuration");
        let mut command = Command::new(find("nginx").expect("nginx is installed"));
        command.arg("-e").arg("stderr").arg("-c").arg(&file);
        let mut process = Process::spawn(command);
        eventually("nginx answers", Duration::from_secs(20), async || {
            process.assert_running();
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self { address, _process: process, _directory: directory }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `https://localhost:port`, as certificates name it.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port())
    }
}
