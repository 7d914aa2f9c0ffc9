//! Byte for byte what imgpkg wrote.

use super::*;

fn reference(golden: &Golden) -> String {
    format!("fx/{}:{}", golden.name, Golden::TAG)
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_imgpkg_s_own() {
    let world = World::golden().await;
    for golden in Golden::all() {
        let expected = fs::read(fixture(format!("tars/{}.tar", golden.name))).unwrap();
        // From the registry, and from the cache.
        for cache in [golden.name, golden.name] {
            let archive = world.export(cache, "archive.tar", &[&reference(&golden)]).await;
            assert!(archive == expected, "{}", golden.name);
            world.upstream.forget();
        }
        let asked = world.upstream.requests();
        assert!(asked.is_empty(), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_without_room_makes_the_same_archive() {
    let world = World::golden().await;
    let golden = Golden::read("wide-app");
    let config = world.config("small", world.settings().set("cache.max_bytes", "300KiB"));
    let output = world.path("archive.tar").to_string_lossy().into_owned();
    let finished = colocate(&["export", "--config", &config, "-o", &output, &reference(&golden)]).await;
    assert!(finished.status.success(), "{finished:?}");
    assert!(world.archive("archive.tar") == fs::read(fixture("tars/wide-app.tar")).unwrap());
}
