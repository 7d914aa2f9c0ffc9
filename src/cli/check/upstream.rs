//! Upstreams in words.

use crate::config::{
    AccessMode, Called, Config, Credentials, Files, FilesPlace, OriginRule, UpstreamConfig, UpstreamPlace,
};

/// Where images may come from by one pair, and for whom.
pub(super) fn origins(rule: &OriginRule) -> String {
    let whose = if rule.credentials { "with the credentials there are" } else { "if everyone may read them" };
    format!("{}, {whose}", rule.origins)
}

/// Where it is.
pub(in crate::cli) fn place(upstream: &UpstreamConfig) -> String {
    match &upstream.place {
        UpstreamPlace::Registry(url) => format!("at {url}"),
        UpstreamPlace::Files(Files { places, called }) => {
            let told = |place: &FilesPlace| match place {
                FilesPlace::Layout(path) => format!("the layout in {}", path.display()),
                FilesPlace::Archive(path) => path.display().to_string(),
            };
            let called = called.as_ref().map(|Called { repository, tag }| match tag {
                Some(tag) => format!(", as {repository}:{tag}"),
                None => format!(", as {repository}"),
            });
            let places = places.iter().map(told).collect::<Vec<_>>().join(", ");
            format!("from {places}{}", called.unwrap_or_default())
        }
    }
}

/// Who the upstream takes the proxy for.
pub(super) fn asked(config: &Config, upstream: &UpstreamConfig) -> String {
    let mut who = match &upstream.credentials {
        _ if matches!(upstream.place, UpstreamPlace::Files(_)) => return "as the files are".to_owned(),
        _ if config.access.mode == AccessMode::Upstream => match upstream.client_credentials {
            true => "as each client says who it is".to_owned(),
            false => "anonymously".to_owned(),
        },
        None => "anonymously".to_owned(),
        Some(Credentials::Password { username, .. } | Credentials::PasswordFile { username, .. }) => {
            format!("as {username}")
        }
        Some(Credentials::Token(_) | Credentials::TokenFile(_)) => "with a token".to_owned(),
        Some(Credentials::DockerConfig(file)) => format!("with what {} says", file.display()),
    };
    if upstream.identity.is_some() {
        who.push_str(", with a certificate");
    }
    who
}
