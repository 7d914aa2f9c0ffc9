//! A CNAB bundle, told as its clients see it: for each image where it came from, and where they pull it.

use std::sync::Arc;

use super::Explanation;
use super::cnab_account::{ExplainedCnab, ExplainedCnabImage};
use crate::cnab::{BundleFile, Index, Kind, NamedImage, RelocationMap, Role, location};
use crate::imgpkg::Target;
use crate::oci::{Digest, Manifest};
use crate::proxy::Proxy;
use crate::proxy::cnab::{missing_from, read};
use crate::proxy::made::RelocationMapArtifact;
use crate::proxy::relocation::{Extent, Found, Sought, Verdict, look_for};
use crate::proxy::sources::Sources;
use crate::proxy::view::View;

/// What a client of this endpoint finds.
struct Seen<'a> {
    target: Option<&'a Target>,
    index: &'a Index,
    verdict: Verdict,
}

impl Proxy {
    /// Tells of an index whether it is a CNAB bundle.
    pub(super) async fn explain_cnab(
        &self,
        contents: &Arc<Sources>,
        view: &View,
        manifest: &Manifest,
        explanation: &mut Explanation,
    ) {
        let Some(index) = Index::of(manifest) else { return };
        let target = view.target.as_ref();
        let file = match read(contents, &index).await {
            Ok(Ok(file)) => Ok(file),
            Ok(Err(odd)) => Err(odd.to_string()),
            Err(error) => Err(format!("it cannot be read now: {error}")),
        };
        let mut told = ExplainedCnab {
            name: index.name.clone(),
            version: index.version.clone(),
            relocation_map: None,
            reason: None,
            images: Vec::new(),
        };
        match file {
            Ok(file) => {
                (told.name, told.version) = (file.name.clone(), file.version.clone());
                match target.map(|target| RelocationMap::new(&index, &file, &target.endpoint, &target.repository)) {
                    None => told.reason = Some("this is the exact view".to_owned()),
                    Some(Ok(map)) => told.relocation_map = Some(RelocationMapArtifact::of(manifest, &map).digest()),
                    Some(Err(error)) => told.reason = Some(error.to_string()),
                }
                let references = missing_from(&index, &file);
                let verdict = if references.is_empty() {
                    Verdict::default()
                } else {
                    let sought =
                        Sought::named(&references.iter().collect::<Vec<_>>(), contents, view.from_origin).await;
                    let effort = self.0.relocator.limits().effort();
                    look_for(contents, manifest.digest, sought, effort, Extent::Whole).await
                };
                told.images = Seen { target, index: &index, verdict }.images(&file);
            }
            Err(reason) => {
                told.reason = Some(reason);
                told.images = Seen { target, index: &index, verdict: Verdict::default() }.listed();
            }
        }
        explanation.cnab = Some(told);
        if target.is_some() && explanation.bundles.is_empty() {
            let reason = "it is a CNAB bundle, which passes as it stands: its clients find its images in the repository \
                          that they pull it from";
            explanation.reason = Some(reason.to_owned());
        }
    }
}

impl Seen<'_> {
    /// The images that `bundle.json` names.
    fn images(&self, file: &BundleFile) -> Vec<ExplainedCnabImage> {
        let mut is_first = true;
        let told = file.all().map(|(role, image)| {
            // Of several invocation images, clients use the first.
            let listed = match role {
                Role::Invocation if std::mem::replace(&mut is_first, false) => {
                    self.listed_as(|kind| *kind == Kind::Invocation)
                }
                Role::Invocation => None,
                Role::Component(name) => {
                    self.listed_as(|kind| matches!(kind, Kind::Component(Some(component)) if component == name))
                }
            };
            self.image(role, image, listed)
        });
        told.collect()
    }

    fn image(&self, role: Role<'_>, image: &NamedImage, listed: Option<Digest>) -> ExplainedCnabImage {
        let component = match role {
            Role::Invocation => None,
            Role::Component(name) => Some(name.to_owned()),
        };
        let (mut origin, mut error, mut elsewhere) = (None, None, Vec::new());
        let digest = listed.or_else(|| image.digest());
        let found = match digest.map(|digest| (digest, self.verdict.found(&digest))) {
            None => "not named by digest",
            Some((digest, _)) if self.index.lists(&digest) => "index",
            Some((_, Some(Found::Locations | Found::Repository))) => "repository",
            Some((_, Some(Found::Origin(repository)))) => {
                origin = Some(repository.to_string());
                "origin"
            }
            Some((_, Some(Found::Missing(places)))) => {
                elsewhere = places.iter().map(ToString::to_string).collect();
                "missing"
            }
            Some((_, Some(Found::Undecided { origin: at, error: cause }))) => {
                origin = at.as_ref().map(ToString::to_string);
                error = Some(cause.to_string());
                "undecided"
            }
            Some((_, None)) if image.repository().is_none() => {
                elsewhere.push("its name in bundle.json: is no name of an image".to_owned());
                "missing"
            }
            Some((_, None)) => {
                error = self.verdict.too_many().map(|count| {
                    format!(
                        "{count} images would have to be asked for one by one, more than relocation.max_images allows"
                    )
                });
                "undecided"
            }
        };
        let is_there = matches!(found, "index" | "repository" | "origin");
        let location = digest.filter(|_| is_there).and_then(|digest| self.location(&digest));
        ExplainedCnabImage { component, original: Some(image.image.clone()), location, found, origin, error, elsewhere }
    }

    /// The images that the index lists, where nothing more is known of them.
    fn listed(&self) -> Vec<ExplainedCnabImage> {
        let told = self.index.children.iter().filter_map(|child| {
            let component = match &child.kind {
                Kind::Invocation => None,
                Kind::Component(name) => Some(name.clone().unwrap_or_default()),
                Kind::Config | Kind::Other(_) | Kind::Unsaid => return None,
            };
            let location = child.digest.and_then(|digest| self.location(&digest));
            let (origin, error, elsewhere) = (None, None, Vec::new());
            Some(ExplainedCnabImage { component, original: None, location, found: "index", origin, error, elsewhere })
        });
        told.collect()
    }

    /// What the index lists last as this, which is what counts in a map.
    fn listed_as(&self, is: impl Fn(&Kind) -> bool) -> Option<Digest> {
        self.index.children.iter().rev().find(|child| is(&child.kind))?.digest
    }

    fn location(&self, digest: &Digest) -> Option<String> {
        self.target.map(|target| location(&target.endpoint, &target.repository, digest))
    }
}
