//! Who may do what, and what is left of what someone asks for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::scripted::matches;
use crate::support::secrets::secret;

/// Patterns of repositories, and the actions on those that match.
type May = Vec<(String, Vec<String>)>;

#[derive(Default)]
pub(super) struct Rights {
    users: BTreeMap<String, User>,
    everyone: May,
    /// Whose each refresh token is.
    refresh: BTreeMap<String, String>,
}

struct User {
    password: String,
    may: May,
}

impl Rights {
    pub(super) fn user(&mut self, name: &str, password: &str, may: &[(&str, &str)]) {
        self.users.insert(name.to_owned(), User { password: password.to_owned(), may: own(may) });
    }

    pub(super) fn everyone(&mut self, may: &[(&str, &str)]) {
        self.everyone = own(may);
    }

    /// Whether this is the password.
    pub(super) fn knows(&self, user: &str, password: &str) -> bool {
        self.users.get(user).is_some_and(|known| known.password == password)
    }

    /// A token with which the user can come back without the password.
    pub(super) fn refresh_token(&mut self, user: &str) -> String {
        let token = secret(&format!("{user}'s refresh token"));
        self.refresh.insert(token.clone(), user.to_owned());
        token
    }

    /// Whose refresh token this is.
    pub(super) fn refreshed(&self, token: &str) -> Option<&String> {
        self.refresh.get(token)
    }

    /// What a token grants of these scopes. One that grants nothing is still given, as registries' servers do: it is
    /// the registry that refuses.
    pub(super) fn granted(&self, user: Option<&str>, scopes: &[String]) -> Vec<Value> {
        let users = user.and_then(|user| self.users.get(user)).into_iter().flat_map(|user| &user.may);
        let may: Vec<_> = users.chain(&self.everyone).collect();
        let grant = |scope: &String| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let allowed = |action: &&str| {
                may.iter().any(|(pattern, own)| matches(pattern, name) && own.iter().any(|own| own == action))
            };
            let actions: Vec<_> = actions.split(',').filter(allowed).collect();
            let granted = kind == "repository" && !actions.is_empty();
            granted.then(|| json!({"type": kind, "name": name, "actions": actions}))
        };
        scopes.iter().filter_map(grant).collect()
    }
}

fn own(may: &[(&str, &str)]) -> May {
    may.iter()
        .map(|(pattern, actions)| ((*pattern).to_owned(), actions.split(',').map(str::to_owned).collect()))
        .collect()
}
