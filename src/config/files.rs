//! Owns which files make a configuration: the main one, and what its `include` names: files inside its directory, and packs.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place};
use super::rule_test::Given;
use crate::nearest::nearest;
use crate::packs;

/// Most bytes of one file. A rule takes some 500 bytes, so this is room for thousands.
const MAX_BYTES: u64 = 4 << 20;
/// Most files. Every one is read again at each reload.
const MAX_FILES: usize = 1_000;

/// What an entry of `include` that names a pack begins with.
pub(super) const PACK: &str = "pack:";

/// What one entry of `include` brings.
enum Included {
    Path(PathBuf),
    Pack(File),
}

/// One file's text.
#[derive(Debug)]
pub(super) struct File {
    /// As faults name it: the path the user would type, or `pack:NAME`.
    pub name: String,
    /// Canonical: two names of one file are one file. `None`: a pack.
    path: Option<PathBuf>,
    /// Content.
    pub text: String,
}

impl File {
    /// The name of the pack that it is.
    pub fn pack(&self) -> Option<&str> {
        self.name.strip_prefix(PACK).filter(|_| self.path.is_none())
    }

    /// What a test in this file means by the name of a record.
    pub fn given(&self, name: &str) -> Result<Given, String> {
        let Some(pack) = self.pack().and_then(packs::find) else {
            let beside = Path::new(&self.name).parent().unwrap_or(Path::new(""));
            return Ok(Given::File(beside.join(name)));
        };
        let fixture = pack.fixtures.iter().find(|(path, _)| *path == name);
        let text = fixture.map(|(_, text)| Given::Text((*text).to_owned()));
        text.ok_or_else(|| format!("names `{name}`, which is no record of the pack"))
    }

    /// The place of a byte offset.
    pub fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = 1 + before.matches('\n').count();
        Place { file: self.name.clone(), line: Some(line) }
    }

    /// The file's table. `None`, and the faults, where it is no TOML: the message is the parser's, without the line's
    /// text, which may hold a secret.
    pub fn parse(&self, faults: &mut Vec<Fault>) -> Option<Spanned<DeTable<'_>>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        faults.extend(errors.iter().map(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Fault::at(&self.place(offset), "", format!("is not valid TOML: {}", error.message()))
        }));
        errors.is_empty().then_some(table)
    }
}

/// Reads the main file and everything it includes, in that order. The files that could be read; the faults say which
/// could not, and then the configuration is not whole.
///
/// With `rules` the files of that directory stand in place of every file that is included; packs stay.
pub(super) fn read(main: &Path, rules: Option<&Path>, faults: &mut Vec<Fault>) -> Vec<File> {
    let Some(first) = read_one(main, faults) else {
        if let Some(fault) = faults.last_mut() {
            fault.message.push_str("; another file is named with -c FILE");
        }
        return Vec::new();
    };
    let mut found = Vec::new();
    if let Some(table) = first.parse(&mut Vec::new()) {
        for (span, pattern) in patterns(&first, table.get_ref(), faults) {
            let at = first.place(span.start);
            let named = match pattern.strip_prefix(PACK) {
                Some(name) => pack(name).map(|pack| vec![Included::Pack(pack)]),
                None if rules.is_some() => continue,
                None => matching(main, &pattern).map(|paths| paths.into_iter().map(Included::Path).collect()),
            };
            match named {
                Ok(named) => found.extend(named.into_iter().map(|one| (at.clone(), one))),
                Err(message) => faults.push(Fault::at(&at, "include", format!("`{pattern}` {message}"))),
            }
        }
    }
    if let Some(rules) = rules {
        let at = Place { file: rules.display().to_string(), line: None };
        match list(rules, "", ".toml") {
            Ok(paths) => found.extend(paths.into_iter().map(|path| (at.clone(), Included::Path(path)))),
            Err(message) => faults.push(Fault::at(&at, "", message)),
        }
    }
    let mut files = vec![first];
    for (at, included) in found {
        if files.len() == MAX_FILES {
            faults.push(Fault::at(&at, "include", format!("names more than {MAX_FILES} files: merge some")));
            break;
        }
        let read = match included {
            Included::Path(path) => read_one(&path, faults),
            Included::Pack(file) => Some(file),
        };
        let Some(file) = read else { continue };
        let same = |known: &File| known.path == file.path && (file.path.is_some() || known.name == file.name);
        match files.iter().position(same) {
            Some(0) => faults.push(Fault::at(&at, "include", "names the main file itself: a cycle; leave it out")),
            Some(_) => faults.push(Fault::at(&at, "include", format!("names `{}` twice: keep one", file.name))),
            None => files.push(file),
        }
    }
    files
}

fn read_one(path: &Path, faults: &mut Vec<Fault>) -> Option<File> {
    let name = path.display().to_string();
    match text(path) {
        Ok((path, text)) => Some(File { name, path: Some(path), text }),
        Err(message) => {
            faults.push(Fault::at(&Place { file: name, line: None }, "", message));
            None
        }
    }
}

fn pack(name: &str) -> Result<File, String> {
    let Some(pack) = packs::find(name) else {
        let known: Vec<&str> = packs::ALL.iter().map(|pack| pack.name).collect();
        return Err(match nearest(name, known.iter().copied()) {
            Some(near) => format!("is no pack; did you mean `{PACK}{near}`?"),
            None => format!("is no pack; there are: {}", known.join(", ")),
        });
    };
    Ok(File { name: format!("{PACK}{name}"), path: None, text: pack.rules.to_owned() })
}

fn text(path: &Path) -> Result<(PathBuf, String), String> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is larger than {} MiB: split it with `include`", MAX_BYTES >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8: save it as UTF-8".to_owned())?;
    let path = fs::canonicalize(path).map_err(|error| format!("cannot be read: {error}"))?;
    Ok((path, text))
}

/// Opens a regular file; the error says what is wrong with it and what to do.
pub(super) fn open(path: &Path) -> Result<fs::File, String> {
    let kind = fs::metadata(path).map_err(|error| format!("cannot be read: {error}; correct the path or the mode"))?;
    if !kind.is_file() {
        return Err("is not a regular file: name a file".into());
    }
    fs::File::open(path).map_err(|error| format!("cannot be read: {error}; correct the path or the mode"))
}

fn patterns(file: &File, table: &DeTable<'_>, faults: &mut Vec<Fault>) -> Vec<(Range<usize>, String)> {
    let Some(value) = table.get("include") else { return Vec::new() };
    let items = value.get_ref().as_array().map(|items| items.iter().collect::<Vec<_>>());
    let mut patterns = Vec::new();
    let mut wrong = |span: Range<usize>| {
        let message = "must be a list of file names, e.g. [\"rules.d/*.toml\", \"pack:entra-user-safety\"]";
        faults.push(Fault::at(&file.place(span.start), "include", message));
    };
    match items {
        None => wrong(value.span()),
        Some(items) => {
            for item in items {
                match item.get_ref() {
                    DeValue::String(text) => patterns.push((item.span(), text.to_string())),
                    _ => wrong(item.span()),
                }
            }
        }
    }
    patterns
}

/// The files of one pattern, sorted. At most one `*`, in the file's name; hidden files never match, so that the
/// `..data` links of a Kubernetes volume are not read twice.
fn matching(main: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let relative = Path::new(pattern);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("must be a relative path below the configuration's directory, without `..`".into());
    }
    let base = directory(main);
    let parent = base.join(relative.parent().unwrap_or(Path::new("")));
    let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if pattern.matches('*').count() != name.matches('*').count() || name.matches('*').count() > 1 {
        return Err("may hold one `*`, in the file's name".into());
    }
    let paths = match name.split_once('*') {
        None => vec![parent.join(name)],
        Some((before, after)) => list(&parent, before, after)?,
    };
    let inside = fs::canonicalize(base).map_err(|error| format!("cannot be resolved: {error}"))?;
    for path in &paths {
        let file = path.display();
        let real = fs::canonicalize(path)
            .map_err(|error| format!("finds {file}, which cannot be read: {error}; correct the path"))?;
        if !real.starts_with(&inside) {
            return Err(format!(
                "finds {file}, which leads out of the configuration's directory: move the file into it"
            ));
        }
    }
    Ok(paths)
}

fn list(directory: &Path, before: &str, after: &str) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("cannot be listed: {error}; create the directory or correct the path");
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let long_enough = name.len() >= before.len() + after.len();
        if long_enough && !name.starts_with('.') && name.starts_with(before) && name.ends_with(after) {
            paths.push(directory.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Where relative paths start.
pub(super) fn directory(main: &Path) -> &Path {
    match main.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
