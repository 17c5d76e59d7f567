//! Tests of document sets on a real file system.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;

fn names(files: &[SourceFile], root: &Path) -> Vec<String> {
    files
        .iter()
        .map(|file| {
            let path = Path::new(&*file.name);
            path.strip_prefix(root).unwrap().display().to_string()
        })
        .collect()
}

#[test]
fn directories_count_whole_and_sorted() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("b/c")).unwrap();
    fs::create_dir_all(root.path().join(".git")).unwrap();
    for name in [
        "z.yaml",
        "b/c/d.yml",
        "a.yaml",
        "notes.txt",
        ".git/x.yaml",
        ".a.yaml.swp",
    ] {
        fs::write(root.path().join(name), name).unwrap();
    }
    let source = DocumentSource::new(vec![root.path().into(), root.path().join("a.yaml")]);
    let files = source.read_all().unwrap();
    assert_eq!(
        names(&files, root.path()),
        ["a.yaml", "b/c/d.yml", "z.yaml"]
    );
    assert_eq!(&*files[1].text, "b/c/d.yml");
}

#[test]
fn what_cannot_be_a_document_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let missing = DocumentSource::new(vec![root.path().join("polices")]);
    assert!(
        missing
            .read_all()
            .unwrap_err()
            .to_string()
            .contains("polices")
    );

    fs::write(root.path().join("a.yaml"), b"ok\xff").unwrap();
    let source = DocumentSource::new(vec![root.path().into()]);
    assert!(matches!(
        source.read_all(),
        Err(DocumentsError::NotText { offset: 2, .. })
    ));

    fs::write(root.path().join("a.yaml"), vec![b'a'; 4 * 1024 * 1024 + 1]).unwrap();
    assert!(matches!(
        source.read_all(),
        Err(DocumentsError::TooLarge { .. })
    ));

    fs::remove_file(root.path().join("a.yaml")).unwrap();
    std::os::unix::net::UnixListener::bind(root.path().join("a.yaml")).unwrap();
    assert!(matches!(
        source.read_all(),
        Err(DocumentsError::WrongKind { .. })
    ));
}

async fn next(watch: &mut DocumentWatch) -> Result<Vec<SourceFile>, DocumentsError> {
    tokio::time::timeout(Duration::from_secs(10), watch.next())
        .await
        .expect("an edition within ten seconds")
        .expect("the watch lives")
        .map(|edition| edition.files)
}

async fn nothing(watch: &mut DocumentWatch) {
    let waited = tokio::time::timeout(Duration::from_millis(1500), watch.next()).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn only_a_changed_content_is_delivered() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = DocumentSource::new(vec![root.path().into()])
        .watch()
        .unwrap();
    assert_eq!(&*next(&mut watch).await.unwrap()[0].text, "one");

    fs::write(&file, "one").unwrap();
    nothing(&mut watch).await;

    fs::write(&file, "two").unwrap();
    assert_eq!(&*next(&mut watch).await.unwrap()[0].text, "two");

    watch.trigger().reload();
    assert_eq!(&*next(&mut watch).await.unwrap()[0].text, "two");

    fs::remove_file(&file).unwrap();
    assert!(next(&mut watch).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_set_is_told_once_and_recovers() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = DocumentSource::new(vec![file.clone()]).watch().unwrap();
    assert!(next(&mut watch).await.is_ok());
    fs::write(&file, b"\xff").unwrap();
    assert!(next(&mut watch).await.is_err());
    nothing(&mut watch).await;
    fs::write(&file, "one").unwrap();
    assert_eq!(&*next(&mut watch).await.unwrap()[0].text, "one");
}

#[tokio::test]
async fn a_swapped_link_is_one_change() {
    let root = tempfile::tempdir().unwrap();
    // As Kubernetes mounts a ConfigMap: a.yaml -> ..data/a.yaml, ..data -> ..1
    for (version, text) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(root.path().join(version)).unwrap();
        fs::write(root.path().join(version).join("a.yaml"), text).unwrap();
        fs::write(root.path().join(version).join("b.yaml"), text).unwrap();
    }
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, root.path().join(name)).unwrap();
    };
    link("..1", "..data");
    link("..data/a.yaml", "a.yaml");
    link("..data/b.yaml", "b.yaml");
    let mut watch = DocumentSource::new(vec![root.path().into()])
        .watch()
        .unwrap();
    let texts = |files: &[SourceFile]| -> Vec<String> {
        files.iter().map(|file| file.text.to_string()).collect()
    };
    assert_eq!(texts(&next(&mut watch).await.unwrap()), ["one", "one"]);
    link("..2", "..data_tmp");
    fs::rename(root.path().join("..data_tmp"), root.path().join("..data")).unwrap();
    assert_eq!(texts(&next(&mut watch).await.unwrap()), ["two", "two"]);
}

#[tokio::test]
async fn an_editor_that_replaces_the_file_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = DocumentSource::new(vec![file.clone()]).watch().unwrap();
    assert!(next(&mut watch).await.is_ok());
    for text in ["two", "three"] {
        let temporary = root.path().join("a.yaml~");
        fs::write(&temporary, text).unwrap();
        fs::rename(&temporary, &file).unwrap();
        assert_eq!(&*next(&mut watch).await.unwrap()[0].text, text);
    }
}

/// How soon a change has to be delivered, so that it is in force within a second with the compilation.
const SOON: Duration = Duration::from_millis(900);

/// The text of the next edition, which must come soon after `change`.
async fn soon(watch: &mut DocumentWatch, change: impl FnOnce()) -> Vec<String> {
    let begun = std::time::Instant::now();
    change();
    let files = next(watch).await.unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    files.iter().map(|file| file.text.to_string()).collect()
}

#[tokio::test]
async fn what_the_kernel_does_not_tell_is_found_soon() {
    let elsewhere = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("real.yaml");
    fs::write(&file, "one").unwrap();
    // Events tell of directory entries; the file behind the link changes in a directory that nobody watches.
    std::os::unix::fs::symlink(&file, root.path().join("a.yaml")).unwrap();
    let mut watch = DocumentSource::new(vec![root.path().into()])
        .watch()
        .unwrap();
    assert_eq!(&*next(&mut watch).await.unwrap()[0].text, "one");
    for text in ["two", "six", "ten"] {
        let texts = soon(&mut watch, || fs::write(&file, text).unwrap()).await;
        assert_eq!(texts, [text]);
    }
}

#[tokio::test]
async fn a_change_without_a_trace_in_the_stamp_is_found() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    fs::write(&file, "one").unwrap();
    let source = DocumentSource::new(vec![root.path().into()]);
    let reading = source.read_stamped(&scan::Reading::default()).unwrap();
    assert!(!reading.is_trusted(), "it was written this moment");
    // As a second write within the same tick of the file system's clock: another text, the same stamp.
    let mut stale = reading;
    stale.edition = vec![SourceFile::new(file.to_str().unwrap(), "old")].into();
    let again = source.read_stamped(&stale).unwrap();
    assert_eq!(again.stamp, stale.stamp);
    assert_eq!(&*again.edition.files[0].text, "one");
}

#[tokio::test]
async fn old_files_are_not_read_again() {
    let root = tempfile::tempdir().unwrap();
    let (old, new) = (root.path().join("a.yaml"), root.path().join("b.yaml"));
    fs::write(&old, "one").unwrap();
    fs::write(&new, "one").unwrap();
    let source = DocumentSource::new(vec![root.path().into()]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let first = source.read_stamped(&scan::Reading::default()).unwrap();
    assert!(first.is_trusted());
    fs::write(&new, "two").unwrap();
    let second = source.read_stamped(&first).unwrap();
    let shared = |position: usize| {
        let text = |reading: &scan::Reading| Arc::clone(&reading.edition.files[position].text);
        Arc::ptr_eq(&text(&first), &text(&second))
    };
    assert!(shared(0));
    assert!(!shared(1));
    assert_eq!(&*second.edition.files[1].text, "two");
    assert_ne!(first.edition.id, second.edition.id);
}

#[tokio::test]
async fn writes_renames_and_removals_are_delivered_soon() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yaml");
    fs::write(&file, "one").unwrap();
    let mut watch = DocumentSource::new(vec![root.path().into()])
        .watch()
        .unwrap();
    assert!(next(&mut watch).await.is_ok());
    let texts = soon(&mut watch, || fs::write(&file, "in place").unwrap()).await;
    assert_eq!(texts, ["in place"]);
    let texts = soon(&mut watch, || {
        let new = root.path().join("a.new");
        fs::write(&new, "renamed").unwrap();
        fs::rename(new, &file).unwrap();
    })
    .await;
    assert_eq!(texts, ["renamed"]);
    let texts = soon(&mut watch, || {
        fs::create_dir(root.path().join("deep")).unwrap();
        fs::write(root.path().join("deep/b.yaml"), "deep").unwrap();
    })
    .await;
    assert_eq!(texts, ["renamed", "deep"]);
    let texts = soon(&mut watch, || fs::remove_file(&file).unwrap()).await;
    assert_eq!(texts, ["deep"]);
    // A whole directory in the place of another, whose events nobody was promised.
    let texts = soon(&mut watch, || {
        let other = root.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("b.yaml"), "other").unwrap();
        fs::rename(root.path().join("deep"), root.path().join("gone")).unwrap();
        fs::rename(other, root.path().join("deep")).unwrap();
        fs::remove_dir_all(root.path().join("gone")).unwrap();
    })
    .await;
    assert_eq!(texts, ["other"]);
}

#[tokio::test]
async fn a_set_that_is_held_is_read_when_it_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (root.path().join("a.yaml"), root.path().join("b.yaml"));
    fs::write(&one, "old").unwrap();
    fs::write(&two, "old").unwrap();
    let source = DocumentSource::new(vec![root.path().into()]);
    let hold = root.path().join(HOLD);
    fs::write(&hold, "").unwrap();
    fs::write(&one, "new").unwrap();
    let done = (two, hold.clone());
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        fs::write(done.0, "new").unwrap();
        fs::remove_file(done.1).unwrap();
    });
    let texts: Vec<_> = source
        .read_all()
        .unwrap()
        .into_iter()
        .map(|file| file.text)
        .collect();
    assert_eq!(texts, ["new".into(), "new".into()]);
    writer.join().unwrap();
    // Whoever forgot it does not stop everybody for ever.
    fs::write(&hold, "").unwrap();
    assert!(matches!(source.read_all(), Err(DocumentsError::Unstable)));
    std::thread::sleep(Duration::from_millis(700));
    assert!(source.read_all().is_ok());
}
