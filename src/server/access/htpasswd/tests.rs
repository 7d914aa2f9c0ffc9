//! Real bcrypt at its lowest cost, real files, a paused clock; runs are counted, not timed.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::io::Write as _;
use std::sync::mpsc;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::super::workers::{AT_ONCE, WAITING};
use super::*;

fn line(user: &str, password: &str) -> String {
    format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())
}

struct World {
    scratch: TempDir,
    users: Htpasswd,
}

impl World {
    fn new(content: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        put(&scratch, content);
        let users = Htpasswd::load(scratch.path().join("users")).unwrap();
        Self { scratch, users }
    }

    /// As a careful editor does it: a new file renamed over the old.
    fn put(&self, content: &str) {
        put(&self.scratch, content);
    }

    async fn verify(&self, user: &str, password: &str) -> Verified {
        self.users.verify(user, &Password::new(password.to_owned())).await
    }

    /// Begins to ask for a password of alice's.
    fn ask(&self, password: &str) -> JoinHandle<Verified> {
        let (users, password) = (self.users.clone(), Password::new(password.to_owned()));
        tokio::spawn(async move { users.verify("alice", &password).await })
    }

    /// The same a thousand times at once.
    async fn all_say(&self, password: &str, expected: Verified) {
        let asked: Vec<_> = (0..1000).map(|_| self.ask(password)).collect();
        for asked in asked {
            assert_eq!(asked.await.unwrap(), expected, "{password}");
        }
    }

    /// Runs of bcrypt so far.
    fn checks(&self) -> u64 {
        self.users.0.workers.begun()
    }

    /// Has the file looked at now.
    async fn reload(&self) {
        self.users.0.state().due = Instant::now();
        self.users.look().await;
    }

    fn refresh(&self) {
        self.users.0.refresh();
    }
}

fn put(scratch: &TempDir, content: &str) {
    let mut file = tempfile::NamedTempFile::new_in(scratch).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.persist(scratch.path().join("users")).unwrap();
}

/// What `body` logs on this thread.
fn logged(body: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("trace")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, body);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn right_and_wrong() {
    let world = World::new(&(line("alice", "secret") + &line("bob", "") + &line("anonymous", "a:b")));
    for (user, password, expected) in [
        ("alice", "secret", Verified::Yes),
        ("alice", "Secret", Verified::No),
        ("alice", "", Verified::No),
        ("Alice", "secret", Verified::No),
        ("", "secret", Verified::No),
        ("bob", "", Verified::Yes),
        ("bob", "secret", Verified::No),
        ("anonymous", "a:b", Verified::Yes),
        ("anonymous:a", "b", Verified::No),
        ("alice", "secret", Verified::Yes),
    ] {
        assert_eq!(world.verify(user, password).await, expected, "{user} {password}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_with_one_credential_are_one_check() {
    let world = World::new(&line("alice", "secret"));
    for (password, expected, checks) in [("secret", Verified::Yes, 1), ("wrong", Verified::No, 2)] {
        world.all_say(password, expected).await;
        assert_eq!(world.checks(), checks, "{password}");
    }
    // What is over is checked again, also once for all.
    tokio::time::advance(RIGHT_FOR).await;
    for (password, expected, checks) in [("secret", Verified::Yes, 3), ("wrong", Verified::No, 4)] {
        world.all_say(password, expected).await;
        assert_eq!(world.checks(), checks, "{password}");
    }
}

#[tokio::test(start_paused = true)]
async fn right_passwords_are_known_while_they_are_used_and_wrong_ones_for_seconds() {
    let world = World::new(&line("alice", "secret"));
    let ask = async |user, password, expected, checks| {
        assert_eq!(world.verify(user, password).await, expected, "{user}");
        assert_eq!(world.checks(), checks, "{user} {password}");
    };
    ask("alice", "secret", Verified::Yes, 1).await;
    ask("alice", "wrong", Verified::No, 2).await;
    // A wrong password does not make the right one forgotten; one of nobody costs a check as well.
    ask("alice", "secret", Verified::Yes, 2).await;
    ask("mallory", "wrong", Verified::No, 3).await;
    tokio::time::advance(WRONG_FOR - Duration::from_millis(1)).await;
    ask("alice", "wrong", Verified::No, 3).await;
    ask("mallory", "wrong", Verified::No, 3).await;
    tokio::time::advance(Duration::from_millis(1)).await;
    ask("alice", "wrong", Verified::No, 4).await;
    ask("mallory", "wrong", Verified::No, 5).await;
    ask("alice", "secret", Verified::Yes, 5).await;
    for _ in 0..24 {
        tokio::time::advance(RIGHT_FOR - Duration::from_millis(1)).await;
        ask("alice", "secret", Verified::Yes, 5).await;
    }
    tokio::time::advance(RIGHT_FOR).await;
    ask("alice", "secret", Verified::Yes, 6).await;
}

#[tokio::test(start_paused = true)]
async fn passwords_that_bcrypt_would_cut_match_nothing_and_cost_nothing() {
    let longest = "x".repeat(72);
    let world = World::new(&(line("alice", &longest) + &line("bob", "secret")));
    assert_eq!(world.verify("alice", &longest).await, Verified::Yes);
    for (user, password) in [("alice", format!("{longest}y")), ("bob", "secret\0x".to_owned())] {
        assert_eq!(world.verify(user, &password).await, Verified::No, "{user}");
    }
    assert_eq!(world.checks(), 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_at_once_are_turned_away_and_may_come_again() {
    let world = World::new(&(line("alice", "secret") + &line("bob", "known")));
    assert_eq!(world.verify("bob", "known").await, Verified::Yes);
    // Every turn is taken, so that none of the crowd is done before the last of it has come.
    let held = std::array::from_fn::<_, AT_ONCE, _>(|_| {
        let (end, ended) = mpsc::channel::<()>();
        let users = world.users.clone();
        let holder = tokio::spawn(async move { users.0.workers.run(move || ended.recv().is_ok()).await });
        (end, holder)
    });
    while world.checks() < 1 + AT_ONCE as u64 {
        tokio::task::yield_now().await;
    }
    let crowd: Vec<_> = (0..WAITING + 10).map(|number| format!("wrong {number}")).collect();
    let asked = crowd.iter().map(|password| world.ask(password)).collect::<Vec<_>>();
    // Those that are turned away are done at once; the others wait for a turn.
    while asked.iter().filter(|asked| asked.is_finished()).count() < 10 {
        tokio::task::yield_now().await;
    }
    // Who is known needs no turn.
    assert_eq!(world.verify("bob", "known").await, Verified::Yes);
    for (end, holder) in held {
        end.send(()).unwrap();
        assert_eq!(holder.await.unwrap(), Ok(true));
    }
    let mut busy = Vec::new();
    for (password, asked) in crowd.iter().zip(asked) {
        match asked.await.unwrap() {
            Verified::Busy => busy.push(password),
            verdict => assert_eq!(verdict, Verified::No, "{password}"),
        }
    }
    assert_eq!((busy.len(), world.checks()), (10, (1 + AT_ONCE + WAITING) as u64));
    for password in busy {
        assert_eq!(world.verify("alice", password).await, Verified::No, "{password}");
    }
    assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
}

#[tokio::test(start_paused = true)]
async fn a_check_whose_client_left_is_not_for_nothing() {
    let world = World::new(&line("alice", "secret"));
    let leaving = world.ask("secret");
    while world.checks() == 0 {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    // Whether it was in time or not, its check runs to its end.
    drop(leaving.await);
    let fingerprint = Fingerprint::of(&[b"alice", b"secret"]);
    let users = Arc::clone(&world.users.0.state().users);
    while !users.by_name["alice"].knows(&fingerprint) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
    assert_eq!(world.checks(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changed_counts_from_the_next_second() {
    let world = World::new(&(line("alice", "secret") + &line("bob", "secret")));
    assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
    assert_eq!(world.verify("carol", "secret").await, Verified::No);
    world.put(&(line("bob", "secret") + &line("carol", "secret")));
    assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
    tokio::time::advance(LOOK_EVERY).await;
    // Everyone who comes now waits for the look, not only the first.
    let [alice, other, carol] = ["alice", "alice", "carol"].map(|user| world.verify(user, "secret"));
    assert_eq!(tokio::join!(alice, other, carol), (Verified::No, Verified::No, Verified::Yes));
    world.put(&line("alice", "another"));
    world.reload().await;
    assert_eq!(world.verify("alice", "another").await, Verified::Yes);
    assert_eq!(world.verify("carol", "secret").await, Verified::No);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_holds_requests_up_once_and_not_for_long() {
    let world = World::new(&line("alice", "secret"));
    world.put(&line("bob", "secret"));
    tokio::time::advance(LOOK_EVERY).await;
    // As a look that does not end.
    let hanging = Arc::clone(&world.users.0.looking).lock_owned().await;
    for patience in [LOOK_PATIENCE, Duration::ZERO] {
        let begun = Instant::now();
        assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
        assert_eq!(begun.elapsed().as_secs(), patience.as_secs());
    }
    drop(hanging);
    tokio::time::advance(LOOK_LATER).await;
    assert_eq!(world.verify("alice", "secret").await, Verified::No);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_did_not_change_forgets_nothing() {
    let content = line("alice", "secret");
    let world = World::new(&content);
    assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
    world.put(&content);
    world.reload().await;
    assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
    assert_eq!(world.checks(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_used_keeps_the_users() {
    let world = World::new(&line("alice", "secret"));
    let path = world.users.0.path.clone();
    for broken in ["", "# nobody\n", "alice:plain\n", &(line("bob", "secret") + "carol")] {
        world.put(broken);
        world.reload().await;
        assert_eq!(world.verify("alice", "secret").await, Verified::Yes, "{broken:?}");
        assert_eq!(world.verify("bob", "secret").await, Verified::No, "{broken:?}");
    }
    tempfile::TempPath::try_from_path(path).unwrap().close().unwrap();
    world.reload().await;
    assert_eq!(world.verify("alice", "secret").await, Verified::Yes);
    world.put(&line("bob", "secret"));
    world.reload().await;
    assert_eq!(world.verify("alice", "secret").await, Verified::No);
    assert_eq!(world.verify("bob", "secret").await, Verified::Yes);
}

#[test]
fn each_change_for_the_worse_is_told_once_and_without_secrets() {
    let world = World::new(&line("alice", "secret"));
    let log = logged(|| {
        for content in ["alice:hunter2\n", "alice:hunter3\n"] {
            world.put(content);
            (0..3).for_each(|_| world.refresh());
        }
        let path = world.users.0.path.clone();
        tempfile::TempPath::try_from_path(path).unwrap().close().unwrap();
        (0..3).for_each(|_| world.refresh());
        world.put("alice:hunter3\n");
        (0..3).for_each(|_| world.refresh());
        world.put(&line("alice", "another"));
        (0..3).for_each(|_| world.refresh());
    });
    let lines: Vec<_> = log.lines().collect();
    let [first, second, gone, back, changed] = lines.as_slice() else { panic!("{log}") };
    for line in [first, second] {
        assert!(line.contains("ERROR") && line.contains("line 1: its hash is not of bcrypt"), "{line}");
    }
    assert!(gone.contains("ERROR") && gone.contains("cannot read") && gone.contains("No such file"), "{gone}");
    assert!(back.contains("INFO") && back.contains("can be read again"), "{back}");
    assert!(changed.contains("INFO") && changed.contains("users=1"), "{changed}");
    assert!(!log.contains("hunter") && !log.contains("$2"), "{log}");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_at_the_start() {
    let scratch = tempfile::tempdir().unwrap();
    let load = || Htpasswd::load(scratch.path().join("users")).err();
    assert!(matches!(load(), Some(HtpasswdError::File(_))));
    for (content, expected) in [("", "has no users"), ("a\nb:c\n", "line 1: "), ("a\nb:c\n", "line 2: ")] {
        put(&scratch, content);
        let refused = load().unwrap().to_string();
        assert!(refused.contains(expected) && refused.contains("htpasswd -B"), "{refused}");
    }
    put(&scratch, &line("alice", "secret"));
    let users = Htpasswd::load(scratch.path().join("users")).unwrap();
    assert!(!format!("{users:?}").contains("$2"), "{users:?}");
}

#[test]
fn a_wrong_password_costs_what_the_dearest_does() {
    let content = line("alice", "secret") + &format!("bob:{}\n", bcrypt::hash("secret", 6).unwrap());
    let world = World::new(&content);
    assert_eq!(world.users.0.state().users.cost, 6);
}
