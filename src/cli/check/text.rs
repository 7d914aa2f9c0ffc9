//! An account of a reference, for people.

use std::fmt;

use super::account::{Account, Allowance, Entry, LeadingWay, Leads, Relocation, Verdict};

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = match &self.verdict {
            Verdict::Leads(leads) => {
                let between = if leads.asked_for.contains(':') { '@' } else { ':' };
                write!(f, "{} is {}{between}{}", self.reference, leads.repository, leads.asked_for)?;
                lines(leads)
            }
            Verdict::Nowhere { because, advice } => {
                write!(f, "{} leads nowhere", self.reference)?;
                vec![("because".to_owned(), because.clone()), ("instead".to_owned(), advice.clone())]
            }
        };
        let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        lines.iter().try_for_each(|(label, line)| write!(f, "\n  {label:width$}  {line}"))
    }
}

fn lines(leads: &Leads) -> Vec<(String, String)> {
    let Leads { way, upstream, relocation, tag, access, .. } = leads;
    let mut lines = vec![
        (
            "by",
            match way {
                LeadingWay::Ns(registry) => format!("the registry's own name ({registry})"),
                LeadingWay::Host(host) => format!("the host {host}, which is that registry's alone"),
                LeadingWay::Prefix(prefix) => format!("the prefix {prefix}"),
                LeadingWay::Default => "no prefix: it is the default registry's".to_owned(),
            },
        ),
        ("upstream", format!("{}, asked {} ({})", upstream.at, upstream.asked, upstream.setting)),
        ("relocated", relocated(relocation)),
    ];
    lines.push((
        "locks",
        match (&relocation.target, relocation.because) {
            (Some(target), _) => format!("name {target}"),
            (None, because) => format!("stay as they are: {}", because.unwrap_or_default()),
        },
    ));
    for origin in &relocation.origins {
        lines.push(("images", format!("also at {} ({})", origin.patterns, origin.setting)));
    }
    if let Some(because) = &relocation.no_origins {
        lines.push(("images", format!("only in their bundle's repository: {because}")));
    }
    if let Some(tag) = tag {
        let belief = match (&tag.immutable, &tag.ttl) {
            (Some(pattern), _) => format!("believed for good, by {}", shown(pattern)),
            (None, ttl) => format!("believed for {} (tags.ttl)", ttl.as_deref().unwrap_or_default()),
        };
        lines.push(("tag", belief));
    }
    let writes = match upstream.takes_writes {
        true => format!("go on to the registry, of those who may ({}.writes: forward)", upstream.setting),
        false => format!("are refused ({}.writes: refuse)", upstream.setting),
    };
    lines.push(("writes", writes));
    let mut lines: Vec<_> = lines.into_iter().map(|(label, line)| (label.to_owned(), line)).collect();
    lines.push((access.identity.clone(), allowed(access)));
    lines
}

fn relocated(relocation: &Relocation) -> String {
    let when = match relocation.when {
        "all" => "if all images of a bundle are there",
        "each" => "each image that is there",
        _ => "never",
    };
    match &relocation.rule {
        Some(rule) => format!("{when}, by {}", shown(rule)),
        None => format!("{when}, by relocation.when"),
    }
}

fn allowed(access: &Allowance) -> String {
    let what = match access.allows.as_slice() {
        [] => "may do nothing".to_owned(),
        [one] => format!("may {one}"),
        [first @ .., last] => format!("may {} and {last}", first.join(", ")),
    };
    let limit = if access.as_far_as_upstream { ", as far as the registry lets them" } else { "" };
    match (&access.rule, &access.because) {
        (Some(rule), _) => format!("{what}{limit}, by {}", shown(rule)),
        (None, because) => format!("{what}{limit}: {}", because.as_deref().unwrap_or_default()),
    }
}

fn shown(entry: &Entry) -> String {
    format!("{} ({})", entry.setting, entry.patterns)
}
