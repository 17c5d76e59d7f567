//! Plans over a real directory: what changes, and that nothing else does.

use std::fs;

use super::*;
use crate::cli::Dir;

const FILE: &str = "# Ours.

# One.
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: one, namespace: a}
spec: {mtls: {mode: STRICT}}  # strict
---
# Two.
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: two, namespace: a}
spec: {mtls: {mode: STRICT}}
";

fn mesh() -> (tempfile::TempDir, MeshDir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = MeshDir::resolve(&Dir {
        dir: Some(temp.path().to_owned()),
    })
    .unwrap();
    for path in [dir.policies(), dir.entries(), dir.run_entries()] {
        fs::create_dir_all(path).unwrap();
    }
    fs::write(dir.policies().join("ours.yaml"), FILE).unwrap();
    (temp, dir)
}

fn wanted(text: &str) -> Vec<Wanted> {
    Wanted::of(&[SourceFile::new("new.yaml", text)], None)
        .unwrap()
        .0
}

fn planned(dir: &MeshDir, text: &str) -> Plan {
    apply(dir, &wanted(text)).unwrap()
}

fn only_file(plan: &Plan) -> (&Path, Option<&str>) {
    assert_eq!(
        (plan.sets.len(), plan.sets[0].files.len()),
        (1, 1),
        "{plan:?}"
    );
    let (path, text) = plan.sets[0].files.iter().next().unwrap();
    (path, text.as_deref())
}

#[test]
fn a_document_is_replaced_where_it_stands() {
    let (_temp, dir) = mesh();
    let new = "# New.\napiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\n\
               metadata: {name: one, namespace: a}\nspec:\n  mtls: {mode: PERMISSIVE} # for now\n";
    let plan = planned(&dir, new);
    assert_eq!(plan.changes[0].what, What::Configured);
    let (path, text) = only_file(&plan);
    assert!(path.ends_with("policies/ours.yaml"));
    let old = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: one, namespace: a}\n\
               spec: {mtls: {mode: STRICT}}  # strict\n";
    assert_eq!(
        text.unwrap(),
        FILE.replacen(old, new.strip_prefix("# New.\n").unwrap(), 1)
    );
    // Once it stands there, there is nothing to do.
    fs::write(path, text.unwrap()).unwrap();
    let again = planned(&dir, new);
    assert!(again.is_empty());
    assert_eq!(again.changes[0].what, What::Unchanged);
}

#[test]
fn a_new_document_gets_a_file_of_its_own() {
    let (_temp, dir) = mesh();
    let plan = planned(
        &dir,
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: three}\nspec: {}\nstatus: {at: x}\n",
    );
    assert_eq!(plan.changes[0].what, What::Created);
    let (path, text) = only_file(&plan);
    assert!(
        path.ends_with("policies/applied/peerauthentication-my-app-three.yaml"),
        "{path:?}"
    );
    assert_eq!(
        text.unwrap(),
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: three\nspec: {}\n"
    );
    let entry = planned(
        &dir,
        "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {name: e, namespace: a}\nspec: {}\n",
    );
    let (path, _) = only_file(&entry);
    assert!(
        path.ends_with("entries/applied/registrationentry-a-e.yaml"),
        "{path:?}"
    );
    assert_eq!(entry.sets[0].readers, Readers::Ca);
}

fn identity(name: &str, namespace: &str) -> Identity {
    Identity {
        group: "security.istio.io".to_owned(),
        kind: "PeerAuthentication".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn a_deleted_document_leaves_the_others() {
    let (_temp, dir) = mesh();
    let one = BTreeSet::from([identity("one", "a")]);
    let plan = delete(&dir, &one, Missing::Wrong).unwrap();
    let (_, text) = only_file(&plan);
    let text = text.unwrap();
    assert!(
        text.starts_with("# Ours.\n") && !text.contains("One"),
        "{text}"
    );
    assert!(
        text.ends_with(FILE.split_once("---\n").unwrap().1),
        "{text}"
    );

    let nobody = BTreeSet::from([identity("one", "b")]);
    let failure = delete(&dir, &nobody, Missing::Wrong).unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("there is no PeerAuthentication b/one"),
        "{failure}"
    );
    assert!(failure.next_step().unwrap().contains("-n a"));
    assert!(delete(&dir, &nobody, Missing::Fine).unwrap().is_empty());

    // A file that says nothing any more goes.
    let applied = dir.policies().join("applied");
    fs::create_dir(&applied).unwrap();
    let text = "# Applied.\n\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x, namespace: a}\n";
    fs::write(applied.join("x.yaml"), text).unwrap();
    let plan = delete(&dir, &BTreeSet::from([identity("x", "a")]), Missing::Wrong).unwrap();
    assert_eq!(only_file(&plan).1, None);
    assert!(
        plan.sets[0]
            .after()
            .iter()
            .all(|file| !file.name.ends_with("x.yaml"))
    );
}

#[test]
fn what_cannot_be_changed_is_said() {
    let (_temp, dir) = mesh();
    let document = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: NAME, namespace: a}\n";
    let entry = "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {name: made, namespace: a}\n";
    fs::write(dir.run_entries().join("run-made.yaml"), entry).unwrap();
    fs::write(
        dir.policies().join("list.yaml"),
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: security.istio.io/v1\n  kind: PeerAuthentication\n  metadata: {name: item, namespace: a}\n",
    )
    .unwrap();
    let spiffe =
        "spec: {spiffeID: \"spiffe://cluster.local/ns/a/sa/x\", selectors: [\"join_token:x\"]}\n";
    let failure = apply(&dir, &wanted(&format!("{entry}{spiffe}"))).unwrap_err();
    let words = "written by `portcullis up`";
    assert!(failure.to_string().contains(words), "{failure}");
    let changed = document.replace("NAME", "item") + "spec: {mtls: {mode: STRICT}}\n";
    let words = "part of a `kind: List`";
    let failure = apply(&dir, &wanted(&changed)).unwrap_err();
    assert!(failure.to_string().contains(words), "{failure}");
    let item = BTreeSet::from([identity("item", "a")]);
    let failure = delete(&dir, &item, Missing::Wrong).unwrap_err();
    assert!(failure.to_string().contains(words), "{failure}");
    let twice = [SourceFile::new(
        "x.yaml",
        format!("{document}---\n{document}"),
    )];
    assert!(
        Wanted::of(&twice, None)
            .unwrap_err()
            .to_string()
            .contains("stands twice")
    );
    let foreign = [SourceFile::new("x.yaml", document)];
    assert!(
        Wanted::of(&foreign, Some("b"))
            .unwrap_err()
            .to_string()
            .contains("not of the namespace `b`")
    );
    let pod = [SourceFile::new(
        "x.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n",
    )];
    let (ours, skipped) = Wanted::of(&pod, None).unwrap();
    assert!(ours.is_empty());
    assert_eq!(skipped, ["Pod `p`"]);
}

#[test]
fn a_list_and_a_namespace_of_the_command_line() {
    let (_temp, dir) = mesh();
    let list = [SourceFile::new(
        "l.json",
        r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"security.istio.io/v1","kind":"PeerAuthentication","metadata":{"name":"j"},"spec":{}}]}"#,
    )];
    let (wanted, _) = Wanted::of(&list, Some("b")).unwrap();
    let plan = apply(&dir, &wanted).unwrap();
    let (path, text) = only_file(&plan);
    assert!(path.ends_with("applied/peerauthentication-b-j.yaml"));
    assert!(text.unwrap().contains("  namespace: b\n"), "{text:?}");
}
