//! A loader that has seen earlier editions says the same as one that reads the last edition from nothing.

use policies::load::{Loader, load};
use policies::mesh::Mesh;
use policies::source::SourceFile;
use proptest::prelude::*;

/// What a file may say; some of it wrong, some of it in conflict with other files.
const TEXTS: &[&str] = &[
    "",
    "# nothing but a comment\n",
    "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\n\
     spec: {hosts: [a], ports: [{number: 80, name: http, protocol: HTTP}]}\n",
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: b}\n\
     spec: {hosts: [a], http: [{match: [{uri: {regex: /a.*}}], route: [{destination: {host: a}}]}]}\n",
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: c}\n\
     spec: {hosts: [c], http: [{match: [{uri: {regex: '/[bc]+'}}], retries: {attempts: 1}, redirect: {uri: /}}]}\n",
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: d}\n\
     spec: {hosts: [d], htp: []}\n",
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: e}\n\
     spec: {hosts: [e], http: [{match: [{uri: {regex: '('}}], redirect: {uri: /}}]}\n",
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: f}\nspec: {}\n\
     ---\na: [\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: g}\n",
    "not: a document\n",
];

fn edition(choices: &[Option<usize>]) -> Vec<SourceFile> {
    let files = choices.iter().enumerate().filter_map(|(file, choice)| {
        let text = TEXTS.get((*choice)?)?;
        Some(SourceFile::new(format!("{file}.yaml"), *text))
    });
    files.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn edits_in_any_order_end_as_if_read_at_once(
        start in prop::collection::vec(prop::option::of(0..TEXTS.len()), 8),
        edits in prop::collection::vec((0..8_usize, prop::option::of(0..TEXTS.len()), any::<bool>()), 12),
    ) {
        let (here, there) = (Mesh::default(), Mesh {
            default_namespace: "other".to_owned(),
            ..Mesh::default()
        });
        let mut loader = Loader::default();
        let mut choices = start;
        for (file, choice, elsewhere) in edits {
            choices[file] = choice;
            let mesh = if elsewhere { &there } else { &here };
            let mut files = edition(&choices);
            let expected = format!("{:?}", load(&files, mesh));
            files.reverse();
            prop_assert_eq!(format!("{:?}", loader.load(&files, mesh)), expected);
        }
    }
}

#[test]
fn two_files_of_one_name_are_two_files() {
    let of = |one: usize, two: usize| {
        [
            SourceFile::new("a.yaml", TEXTS[one]),
            SourceFile::new("a.yaml", TEXTS[two]),
        ]
    };
    let mesh = Mesh::default();
    let mut loader = Loader::default();
    for files in [of(2, 3), of(3, 2), of(2, 2), of(2, 3)] {
        let expected = format!("{:?}", load(&files, &mesh));
        assert_eq!(format!("{:?}", loader.load(&files, &mesh)), expected);
    }
}

#[test]
fn a_file_that_stays_as_it_is_is_not_read_again() {
    let files = edition(&[Some(2), Some(3)]);
    let mesh = Mesh::default();
    let mut loader = Loader::default();
    let one = loader.load(&files, &mesh).documents;
    let two = loader.load(&edition(&[Some(7), Some(3)]), &mesh).documents;
    assert!(two.service_entries.is_empty());
    assert!(std::sync::Arc::ptr_eq(
        &one.virtual_services[0],
        &two.virtual_services[0]
    ));
}

#[test]
fn the_regular_expressions_of_a_set_share_a_budget() {
    // Each of them takes most of a megabyte when compiled; some documents hold the same ones.
    let file = |number: usize| {
        let rules: Vec<String> = (0..20)
            .map(|rule| {
                let name = format!("{number}-{rule}");
                format!("{{match: [{{uri: {{regex: '/{name}/.{{850}}'}}}}], redirect: {{uri: /}}}}")
            })
            .collect();
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{number}}}\n\
             spec: {{hosts: [h{number}], http: [{}]}}\n",
            rules.join(", ")
        );
        SourceFile::new(format!("{number:02}.yaml"), text)
    };
    let mesh = Mesh::default();
    let codes = |files: &[SourceFile], loader: &mut Loader| -> Vec<String> {
        let found = loader.load(files, &mesh).diagnostics;
        found.iter().map(ToString::to_string).collect()
    };
    let mut files: Vec<SourceFile> = (0..5).map(file).collect();
    let mut loader = Loader::default();
    assert_eq!(codes(&files, &mut loader), Vec::<String>::new());
    files.extend((5..8).map(file));
    let refused = codes(&files, &mut loader);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].starts_with("06.yaml:4:") && refused[0].contains("error[PC0004]"),
        "{refused:?}"
    );
    assert_eq!(codes(&files, &mut Loader::default()), refused);
    files.truncate(6);
    assert_eq!(codes(&files, &mut loader), Vec::<String>::new());
}
