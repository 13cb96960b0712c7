//! The floors of the house: no module uses one of its own floor or above.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Reads the floors off `src/lib.rs`, where each module's line ends with its number.
fn floors() -> BTreeMap<String, u32> {
    let house = fs::read_to_string("src/lib.rs").unwrap();
    let floor = |line: &str| {
        let (module, note) = line.strip_prefix("pub mod ")?.split_once("; //")?;
        Some((module.to_owned(), note.split_whitespace().next()?.parse().ok()?))
    };
    house.lines().filter_map(floor).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the modules that a line of code names after `crate::`, one or several in braces.
fn named(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        let end = |text: &str| text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
        match part.strip_prefix('{') {
            Some(list) => names.extend(list.split(',').map(str::trim).map(|item| &item[..end(item)])),
            None => names.push(&part[..end(part)]),
        }
    }
    names
}

#[test]
fn every_module_has_a_floor() {
    let floors = floors();
    let house = fs::read_to_string("src/lib.rs").unwrap();
    assert_eq!(house.matches("pub mod ").count(), floors.len(), "a line of src/lib.rs has no floor");
}

#[test]
fn a_module_uses_only_floors_below_its_own() {
    let floors = floors();
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    assert!(files.len() > 40, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix("src").unwrap().components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = inside.trim_end_matches(".rs");
        let Some(floor) = floors.get(module) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            for name in named(line) {
                if name != module && floors.get(name).is_some_and(|other| other >= floor) {
                    wrong.push(format!("{}:{}: `{module}` uses `{name}`", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is() {
    let mut files = vec![PathBuf::from("build.rs")];
    for folder in ["src", "build", "tests", "benches"] {
        sources(Path::new(folder), &mut files);
    }
    let silent: Vec<_> = files.into_iter().filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! ")).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
