//! Which ways to set it up would let somebody in, or give something away, and are refused.

use colocate::config::Config;

/// What is told of a configuration, if it is refused.
fn problems(text: &str) -> String {
    Config::parse("test", text).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn what_would_let_in_whom_nobody_meant_is_refused() {
    let one = "upstream: {url: 'https://a.example'}\n";
    let known = "upstream: {url: 'https://a.example', credentials: {username: proxy, password: of-the-proxy}}\n";
    let plain = |more: &str| format!("upstream: {{url: 'http://a.example'{more}}}\naccess: {{mode: upstream}}");
    let two = |more: &str| format!("{one}upstreams: [{{registry: b.example{more}}}]\naccess: {{mode: upstream}}");
    for (text, refused) in [
        (format!("{known}access: {{mode: open}}"), "access.allow_public: must be true"),
        (format!("{known}access: {{mode: open, allow_public: true}}"), ""),
        (format!("{known}access: {{mode: upstream}}"), "upstream.credentials: are never used"),
        (format!("{known}access: {{mode: certificate}}"), "server.tls.client_ca: is needed"),
        (format!("{known}access: {{mode: htpasswd}}"), "access.htpasswd: is needed"),
        (
            format!("{known}access: {{mode: upstream, rules: [{{identity: 'user:a', allow: [pull]}}]}}"),
            "identity: cannot",
        ),
        (format!("{one}access: {{mode: upstream}}"), ""),
        (plain(""), "upstream.url: would have clients' passwords go over http"),
        (plain(", insecure: true"), ""),
        (plain(", client_credentials: false"), ""),
        ("upstream: {url: 'http://127.0.0.1:5000'}\naccess: {mode: upstream}".to_owned(), ""),
        ("upstream: {url: 'layout:config/sample'}\naccess: {mode: upstream}".to_owned(), "cannot tell who may read"),
        (two(""), "upstream.client_credentials: must be true for one only of"),
        (two(", client_credentials: false"), ""),
        (two(", hosts: [b.proxy]"), ""),
    ] {
        let said = problems(&text);
        let as_expected = if refused.is_empty() { said.is_empty() } else { said.contains(refused) };
        assert!(as_expected, "{text}\nsaid\n{said}\nnot\n{refused}");
    }
}
