//! The rules of the house, read from the tree: rooms import only rooms above them, files stay small and say what they are for.
#![allow(clippy::unwrap_used, reason = "a test that cannot read the tree fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 600;

/// Crates that one room alone may name.
const OWNED: &[(&str, &str)] = &[
    ("shlex", "text"),
    ("zeroize", "secret"),
    ("x509_parser", "x509"),
    ("rustls", "tls"),
    ("tokio_rustls", "tls"),
    ("webpki", "tls"),
    ("hmac", "signature"),
    ("rusqlite", "store"),
    ("tokio_postgres", "store"),
    ("arc_swap", "config"),
    ("tracing_subscriber", "telemetry"),
    ("metrics_exporter_prometheus", "telemetry"),
    ("rcgen", "ca"),
    ("clap", "cli"),
];

/// Calls of PostgreSQL's driver that take SQL, which stands in one wing of `store`.
const POSTGRES_SQL: &[&str] = &["query_typed(", "execute_typed(", "batch_execute("];

struct SourceFile {
    path: PathBuf,
    room: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms, in the order of `src/lib.rs`.
fn rooms() -> Vec<String> {
    let front = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let named = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    front.lines().filter_map(named).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every file that lies in a room.
fn furnishings() -> Vec<SourceFile> {
    let mut found = Vec::new();
    for room in rooms() {
        let files = rust_files(&root().join("src").join(&room));
        assert!(!files.is_empty(), "room {room} is empty");
        for path in files {
            let text = fs::read_to_string(&path).unwrap();
            found.push(SourceFile {
                path,
                room: room.clone(),
                text,
            });
        }
    }
    found
}

/// Whether a file is compiled for tests alone: those may make certificates where no room above can.
fn is_for_tests(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let room = fs::read_to_string(path.with_file_name("mod.rs")).unwrap();
    room.contains(&format!("#[cfg(test)]\nmod {name};"))
}

/// The code of a file: comments cut away, so that prose may name what code may not.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

fn assert_none(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

#[test]
fn a_room_imports_only_rooms_above_it() {
    let rooms = rooms();
    let place = |name: &str| rooms.iter().position(|room| room == name);
    let mut wrong = Vec::new();
    for SourceFile { path, room, text } in furnishings() {
        for (number, line) in code_lines(&text) {
            for rest in line.split("crate::").skip(1) {
                let named: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                if place(&named).is_some() && place(&named) > place(&room) {
                    wrong.push(format!("{}:{number}: {room} names {named}", path.display()));
                }
            }
        }
    }
    assert_none(&wrong, "a room names only rooms above it");
}

/// The files of `src` that hold code, each by its path without the ending, and that code without what is for tests.
fn modules() -> BTreeMap<PathBuf, String> {
    let code = |text: &str| {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines: Vec<&str> = code_lines(code).map(|(_, line)| line).collect();
        lines.join("\n")
    };
    let files = furnishings().into_iter();
    let files = files.filter(|file| !is_for_tests(&file.path));
    let src = root().join("src");
    let module = |path: &Path| path.strip_prefix(&src).unwrap().with_extension("");
    files
        .map(|file| (module(&file.path), code(&file.text)))
        .collect()
}

/// `super::a::{B, c::D}` is `super::a::B` and `super::a::c::D`.
fn flatten(before: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((stem, group)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap();
        paths.push(format!("{before}{name}"));
        return;
    };
    let before = format!("{before}{}", stem.trim());
    // A word "use" in a text is no import.
    let Some(group) = group.strip_suffix('}') else {
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in group.char_indices().chain([(group.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    flatten(&before, &group[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Every path that the code names with `use`, and those that it names in passing.
fn named_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut passing = String::new();
    for statement in code.split_inclusive(';') {
        let start = statement.rfind("use ").filter(|start| {
            let before = statement[..*start].rsplit('\n').next().unwrap();
            ["", "pub ", "pub(super) ", "pub(crate) "].contains(&before.trim_start())
                || before.trim_start().starts_with("pub(in")
        });
        match start {
            Some(start) => flatten("", statement[start + 4..].trim_end_matches(';'), &mut paths),
            None => passing.push_str(statement),
        }
    }
    let is_of_a_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = passing.split(|letter| !is_of_a_path(letter));
    let local = |word: &&str| word.starts_with("super::") || word.starts_with("crate::");
    paths.extend(words.filter(local).map(str::to_owned));
    paths
}

/// The file that a path leads to, by way of what the `mod.rs` of rooms and wings hand on.
fn file_named(modules: &BTreeMap<PathBuf, String>, from: &Path, path: &str) -> Option<PathBuf> {
    let mut here = match from.file_name()?.to_str()? {
        "mod" => from.parent()?.to_owned(),
        _ => from.to_owned(),
    };
    let mut names = path.split("::").map(str::trim).peekable();
    match *names.peek()? {
        "crate" => {
            names.next();
            here = PathBuf::new();
        }
        "super" => {
            while names.next_if_eq(&"super").is_some() {
                here.pop();
            }
        }
        own if modules.contains_key(&here.join(own)) => {}
        _ => return None,
    }
    for name in names {
        if modules.contains_key(&here.join(name))
            || modules.contains_key(&here.join(name).join("mod"))
        {
            here.push(name);
            continue;
        }
        if modules.contains_key(&here) {
            break;
        }
        let front = here.join("mod");
        let handed_on = named_paths(modules.get(&front)?);
        let wanted = format!("::{name}");
        let handed_on = handed_on.iter().find(|path| path.ends_with(&wanted))?;
        return file_named(modules, &front, handed_on);
    }
    modules.contains_key(&here).then_some(here)
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let modules = modules();
    let mut imports: BTreeMap<&Path, BTreeSet<PathBuf>> = BTreeMap::new();
    // What a mod.rs hands on is followed; by itself it stands for its whole folder.
    for (file, code) in modules.iter().filter(|(file, _)| !file.ends_with("mod")) {
        let named = named_paths(code);
        let named = named
            .iter()
            .filter_map(|path| file_named(&modules, file, path));
        imports.insert(file, named.filter(|named| named != file).collect());
    }
    let arrows: usize = imports.values().map(BTreeSet::len).sum();
    assert!(
        arrows > imports.len(),
        "{arrows} imports were found, too few to believe"
    );
    // Whoever imports nobody that is left, or is imported by nobody, is in no circle.
    loop {
        let left: BTreeSet<PathBuf> = imports.keys().map(|file| file.to_path_buf()).collect();
        for named in imports.values_mut() {
            named.retain(|file| left.contains(file));
        }
        let named: BTreeSet<PathBuf> = imports.values().flatten().cloned().collect();
        imports.retain(|file, own| !own.is_empty() && named.contains(*file));
        if imports.len() == left.len() {
            break;
        }
    }
    let wrong: Vec<String> = imports
        .iter()
        .map(|(file, named)| format!("{} imports {named:?}", file.display()))
        .collect();
    assert_none(&wrong, "files import only those that do not import them");
}

#[test]
fn a_crate_that_one_room_owns_is_named_nowhere_else() {
    let mut wrong = Vec::new();
    for SourceFile { path, room, text } in furnishings()
        .into_iter()
        .filter(|file| !is_for_tests(&file.path))
    {
        for (number, line) in code_lines(&text) {
            for (owned, owner) in OWNED {
                let starts: Vec<usize> = line
                    .match_indices(&format!("{owned}::"))
                    .map(|(at, _)| at)
                    .collect();
                let whole_word = starts.iter().any(|at| {
                    let before = line[..*at].chars().next_back();
                    !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                });
                if whole_word && room != *owner {
                    wrong.push(format!(
                        "{}:{number}: {owned} belongs to {owner}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert_none(&wrong, "a crate has one room");
}

#[test]
fn the_sql_of_postgresql_stands_in_its_wing_of_the_store() {
    let wing = root().join("src/store/postgres");
    let mut wrong = Vec::new();
    for SourceFile { path, text, .. } in furnishings() {
        if path.starts_with(&wing) || is_for_tests(&path) {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (number, line) in code_lines(code) {
            if let Some(call) = POSTGRES_SQL.iter().find(|call| line.contains(**call)) {
                wrong.push(format!("{}:{number}: {call}", path.display()));
            }
        }
    }
    assert_none(&wrong, "SQL of PostgreSQL stands in src/store/postgres");
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    let mut wrong = Vec::new();
    let files = ["src", "tests", "benches"].map(|folder| rust_files(&root().join(folder)));
    let fuzz = root().join("fuzz/fuzz_targets");
    // A crate of its own, which is not in the package.
    let fuzz = fuzz.exists().then(|| rust_files(&fuzz));
    for file in files
        .into_iter()
        .flatten()
        .chain(fuzz.into_iter().flatten())
    {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!(
                "{} has {lines} lines, more than {LINES_MAX}",
                file.display()
            ));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", file.display()));
        }
    }
    assert_none(&wrong, "a file says what it is for, and is small");
}

#[test]
fn nothing_is_left_open() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat()];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark.as_str())) {
                    wrong.push(format!(
                        "{}:{}: {}",
                        file.display(),
                        number + 1,
                        line.trim()
                    ));
                }
            }
        }
    }
    assert_none(&wrong, "what is begun is finished, or is an issue");
}

#[test]
fn rooms_are_folders_and_nothing_else_lies_beside_them() {
    let rooms = rooms();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            assert!(rooms.contains(&name), "src/{name} is no room of lib.rs");
            assert!(path.join("mod.rs").exists(), "src/{name} has no mod.rs");
            wings_are_folders_without_further_ones(&path);
        } else {
            assert!(
                ["lib.rs", "main.rs"].contains(&name.as_str()),
                "src/{name} lies beside the rooms"
            );
        }
    }
}

/// A room that is too large to be overlooked has wings: what is deeper is lost.
fn wings_are_folders_without_further_ones(room: &Path) {
    let folders = |of: &Path| {
        let entries = fs::read_dir(of).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    for wing in folders(room) {
        let shown = wing.display();
        assert!(wing.join("mod.rs").exists(), "{shown} has no mod.rs");
        assert!(folders(&wing).is_empty(), "{shown} has folders of its own");
    }
}

#[test]
fn what_a_hash_has_in_mind_of_a_secret_is_wiped_with_it() {
    fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
    is_wiped::<sha2::Sha256>();
    is_wiped::<sha2::Sha512>();
    is_wiped::<sha1::Sha1>();
    is_wiped::<md5::Md5>();
}
