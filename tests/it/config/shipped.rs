//! The configurations that are shipped: every one is valid, with the files that it names, and agrees with what it is shipped with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use colocate::config::Config;
use serde::Deserialize as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::colocate::colocate;
use crate::support::secrets::secret;

/// Where configurations name files that their owner has, and the tests make.
const PLACES: [&str; 3] = ["/etc/colocate/", "/run/secrets/colocate/", "/run/credentials/colocate.service/"];

/// Reads all documents of a file.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).expect("YAML")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// Every YAML file below these directories of `config`, by its name there.
fn files() -> Vec<(String, String)> {
    let mut left: Vec<_> =
        ["container", "kubernetes", "recipes", "systemd"].iter().map(|name| root().join(name)).collect();
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

/// Colocate's configurations among them: what is no object of Kubernetes's kind, and what is in a `ConfigMap`.
fn configurations() -> Vec<(String, String)> {
    let mut configurations = Vec::new();
    for (name, text) in files() {
        let documents = documents(&text);
        if documents.iter().all(|document| document.get("apiVersion").is_none()) {
            configurations.push((name, text));
            continue;
        }
        for document in documents {
            assert!(document["apiVersion"].is_string() && document["kind"].is_string(), "{name}: {document}");
            if document["kind"] == "ConfigMap" {
                configurations.push((name.clone(), document["data"]["colocate.yaml"].as_str().unwrap().to_owned()));
            }
        }
    }
    configurations
}

/// The same with files of the test's own in [`PLACES`], each of the kind that its name says.
fn with_files(text: &str, directory: &Path) -> String {
    let authority = Authority::new(directory);
    let server = authority.server(&[]);
    let mut text = text.to_owned();
    for place in PLACES {
        let after =
            text.split(place).skip(1).map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))));
        let names: BTreeSet<String> = after.filter_map(|mut words| words.next()).map(str::to_owned).collect();
        for name in names {
            let file = directory.join(&name);
            match name.as_str() {
                "tls.crt" => drop(fs::copy(&server.certificate, &file).unwrap()),
                "tls.key" => drop(fs::copy(&server.key, &file).unwrap()),
                "htpasswd" => fs::write(&file, example()["htpasswd"].as_str().unwrap()).unwrap(),
                "config.json" => fs::write(&file, "{}").unwrap(),
                name if name.ends_with(".crt") => drop(fs::copy(authority.file(), &file).unwrap()),
                _ => fs::write(&file, secret("what a shipped configuration names")).unwrap(),
            }
        }
        text = text.replace(place, &format!("{}/", directory.display()));
    }
    text
}

/// What the Secret for the proxy in Kubernetes holds.
fn example() -> Value {
    let text = fs::read_to_string(root().join("kubernetes/proxy/secret.example.yaml")).unwrap();
    documents(&text).remove(0)["stringData"].take()
}

#[tokio::test]
async fn every_shipped_configuration_is_valid() {
    let configurations = configurations();
    for (name, text) in &configurations {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("colocate.yaml");
        fs::write(&file, with_files(text, directory.path())).unwrap();
        let checked = colocate(&["check", "--config", file.to_str().unwrap()]).await;
        assert!(checked.status.success(), "{name}: {}", checked.stderr);
        assert!(!checked.stdout.contains("insecure"), "{name}: {}", checked.stdout);
    }
    let names: BTreeSet<&str> = configurations.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = [
        "kubernetes/edge/configmap.yaml",
        "kubernetes/proxy/configmap.yaml",
        "recipes/nodes/colocate.yaml",
        "recipes/registries/artifact-registry.yaml",
        "recipes/registries/docker-hub.yaml",
        "recipes/registries/ecr.yaml",
        "recipes/registries/harbor.yaml",
        "systemd/colocate.yaml",
    ];
    assert!(names.is_superset(&BTreeSet::from(wanted)), "{names:?}");
}

#[test]
fn what_runs_in_kubernetes_finds_what_its_configuration_names() {
    for (kind, workload) in [("proxy", "deployment"), ("edge", "daemonset")] {
        let read = |name: &str| {
            let text = fs::read_to_string(root().join(format!("kubernetes/{kind}/{name}.yaml"))).unwrap();
            documents(&text).remove(0)
        };
        let (map, workload) = (read("configmap"), read(workload));
        let text = map["data"]["colocate.yaml"].as_str().unwrap();
        let directory = TempDir::new().unwrap();
        let config = Config::parse("colocate.yaml", &with_files(text, directory.path())).unwrap();
        let pod = &workload["spec"]["template"]["spec"];
        let container = &pod["containers"][0];

        let port = |name: &str| {
            let ports = container["ports"].as_array().unwrap();
            ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
        };
        assert_eq!(u64::from(config.listen[0].tcp().unwrap().port()), port("http"));
        assert_eq!(u64::from(config.admin.listen.unwrap().port()), port("admin"));
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(grace > config.server.drain_timeout.as_secs(), "{kind} is killed before it has drained");

        let mounted = |path: &str| {
            let mounts = container["volumeMounts"].as_array().unwrap();
            mounts.iter().find(|mount| path.starts_with(mount["mountPath"].as_str().unwrap())).cloned()
        };
        assert_eq!(mounted("/etc/colocate/colocate.yaml").unwrap()["name"], "config");
        let cache = mounted(config.cache.dir.to_str().unwrap()).unwrap();
        assert!(cache["readOnly"].is_null(), "{kind} cannot write to its cache");
        for place in text.split_whitespace().map(|word| word.trim_start_matches("archive:")) {
            if let Some(name) = place.strip_prefix(PLACES[1]) {
                assert!(example()[name].is_string(), "the example of a Secret has no {name}");
            }
            if place.starts_with(PLACES[1]) || place.starts_with("/srv/") {
                assert!(mounted(place).is_some(), "{kind} has no {place}");
            }
        }
        let volume = |name: &str| {
            let volumes = pod["volumes"].as_array().unwrap();
            volumes.iter().find(|volume| volume["name"] == name).unwrap().clone()
        };
        assert_eq!(volume("config")["configMap"]["name"], map["metadata"]["name"]);
    }
}

#[test]
fn every_object_of_a_kustomization_is_in_it() {
    for kind in ["proxy", "edge"] {
        let directory = root().join("kubernetes").join(kind);
        let text = fs::read_to_string(directory.join("kustomization.yaml")).unwrap();
        let listed: BTreeSet<String> = serde_json::from_value(documents(&text)[0]["resources"].clone()).unwrap();
        let there = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let objects = there.filter(|name| name != "kustomization.yaml" && !name.contains(".example."));
        assert_eq!(objects.collect::<BTreeSet<_>>(), listed);
    }
}

#[test]
fn systemd_waits_until_the_service_has_drained() {
    let unit = fs::read_to_string(root().join("systemd/colocate.service")).unwrap();
    let text = fs::read_to_string(root().join("systemd/colocate.yaml")).unwrap();
    let config = Config::parse("colocate.yaml", &text).unwrap();
    let wait = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s')).unwrap();
    assert!(wait.parse::<u64>().unwrap() > config.server.drain_timeout.as_secs());
    let socket = fs::read_to_string(root().join("systemd/colocate.socket")).unwrap();
    let listens = socket.lines().find_map(|line| line.strip_prefix("ListenStream=")).unwrap();
    assert_eq!(listens, config.listen[0].to_string());
    let state = unit.lines().find_map(|line| line.strip_prefix("StateDirectory=")).unwrap();
    assert_eq!(config.cache.dir, Path::new("/var/lib").join(state));
}
