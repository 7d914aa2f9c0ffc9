//! Completions and manual pages: all commands are in them, and those who read them understand.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::colocate::colocate;
use crate::support::{find, optional};

/// The program's commands, as its help lists them; of a command, those below it.
async fn commands(of: &[&str]) -> Vec<String> {
    let help = colocate(&[of, &["-h"]].concat()).await.stdout;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// What a tool has to say of a file, which should be nothing.
fn complaints(tool: &str, arguments: &[&str], file: &Path) -> Option<String> {
    optional(tool).then(|| {
        let output = Command::new(find(tool).unwrap()).args(arguments).arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { said } else { format!("{}: {said}", output.status) }
    })
}

#[tokio::test]
async fn completions_know_the_commands_and_are_read_by_their_shells() {
    let names = commands(&[]).await;
    assert!(names.len() > 10 && names.iter().any(|name| name == "completions"), "{names:?}");
    let scratch = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = colocate(&["completions", shell]).await;
        assert!(made.status.success() && made.stderr.is_empty(), "{}", made.stderr);
        for name in &names {
            assert!(made.stdout.contains(name.as_str()), "{shell} knows no {name}");
        }
        assert!(made.stdout.contains("log-filter"), "{shell}");
        let file = scratch.path().join(shell);
        fs::write(&file, &made.stdout).unwrap();
        if matches!(shell, "bash" | "zsh" | "fish") {
            let said = complaints(shell, &["-n"], &file);
            assert!(said.as_deref().is_none_or(str::is_empty), "{shell}: {said:?}");
        }
    }
    assert_eq!(colocate(&["completions", "cmd"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn what_bash_completes() {
    if !optional("bash") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("colocate");
    fs::write(&file, colocate(&["completions", "bash"]).await.stdout).unwrap();
    let script =
        "source \"$0\"; COMP_WORDS=(colocate ch); COMP_CWORD=1; _colocate colocate ch; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["--norc", "-c", script]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "check");
}

#[tokio::test]
async fn each_command_has_its_page() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("man1");
    let made = colocate(&["man", "--dir", directory.to_str().unwrap()]).await;
    assert!(made.status.success() && made.stderr.is_empty(), "{}", made.stderr);
    let mut expected = vec!["colocate.1".to_owned()];
    for name in commands(&[]).await {
        if name == "cache" {
            let below = commands(&["cache"]).await;
            expected.extend(below.iter().map(|below| format!("colocate-cache-{below}.1")));
        }
        expected.push(format!("colocate-{name}.1"));
    }
    let mut pages: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    expected.sort();
    assert_eq!(pages, expected);

    let main = fs::read_to_string(directory.join("colocate.1")).unwrap();
    assert_eq!(colocate(&["man"]).await.stdout, main);
    for page in expected.iter().filter(|page| page.matches('-').count() == 1) {
        let name = page.trim_end_matches(".1").replace('-', "\\-");
        assert!(main.contains(&name), "{name} is not in the main page:\n{main}");
    }
    for page in &pages {
        let file = directory.join(page);
        assert!(fs::read_to_string(&file).unwrap().contains(".SH SYNOPSIS"), "{page}");
        let checks = [("groff", &["-man", "-Tutf8", "-ww", "-z"][..]), ("mandoc", &["-T", "lint", "-W", "error"])];
        for (tool, arguments) in checks {
            let said = complaints(tool, arguments, &file);
            assert!(said.as_deref().is_none_or(str::is_empty), "{page}: {tool}: {said:?}");
        }
    }
    let taken = colocate(&["man", "--dir", directory.join("colocate.1").to_str().unwrap()]).await;
    assert_eq!(taken.status.code(), Some(1));
    assert!(taken.stderr.contains("manual pages cannot be written to"), "{}", taken.stderr);
}
