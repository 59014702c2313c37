//! Owns the words that other rule languages have for what is said here in another way.

/// Words of others, in lower case without underscores, and what is written here.
const FOREIGN: &[(&[&str], &str)] = &[
    (&["eq", "equals"], "FIELD = \"VALUE\""),
    (&["ne", "neq", "notequals"], "FIELD = { not = \"VALUE\" }"),
    (&["notin", "nin"], "FIELD = { not = [\"…\", \"…\"] }"),
    (&["notcontains"], "FIELD = { not = { contains = \"…\" } }"),
    (&["like", "wildcard", "glob"], "starts_with, ends_with, contains or matches"),
    (&["regex", "regexp"], "FIELD = { matches = \"…\" }"),
    (&["between"], "FIELD = { gte = …, lte = … }"),
    (&["has", "hasany", "anyof"], "FIELD = { contains = [\"…\", \"…\"] }"),
    (&["isnull", "isempty"], "FIELD = { exists = false }"),
    (&["or"], "any = [{ … }, { … }]"),
    (&["and"], "all = [{ … }, { … }], or keys side by side"),
];

/// Words that are names of fields somewhere.
const NAMES: [&str; 4] = ["has", "like", "or", "and"];

/// What is written in the place of `word`, if it is a word of another language.
#[must_use]
pub fn instead_of(word: &str) -> Option<&'static str> {
    let word = word.replace('_', "").to_lowercase();
    FOREIGN.iter().find(|(words, _)| words.contains(&&*word)).map(|(_, here)| *here)
}

/// The same of the last part of `path`, where it hardly is the name of a field.
#[must_use]
pub fn instead_of_last(path: &str) -> Option<&'static str> {
    let (_, last) = path.rsplit_once('.')?;
    instead_of(last).filter(|_| !NAMES.iter().any(|name| name.eq_ignore_ascii_case(last)))
}
