//! `init`: a configuration to begin with, in an empty directory.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::exit;
use crate::compose::templates;
use crate::nearest::nearest;
use crate::packs;

/// How many of the things in the way are named.
const NAMED: usize = 5;

const CONFIG: &str = include_str!("init/auditbell.toml");
const RULES: &str = include_str!("init/rules.toml");
const RECORD: &str = include_str!("init/guest-invited.json");
const PEOPLE: &str = include_str!("init/people.csv");

/// The list that the conditions of a pack name, with an example.
const LISTS_OF_PACKS: &[(&str, &str)] = &[(
    "entra-admin",
    "# The accounts for emergencies, by principal name.\nbreak-glass = [\"break-glass@example.com\"]\n",
)];

/// Arguments of `init`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// An empty directory, or one that is to be made
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Include this pack of rules; may be given several times
    #[arg(long = "pack", value_name = "NAME")]
    packs: Vec<String>,
    /// Write the templates, too, to change their words
    #[arg(long)]
    templates: bool,
}

/// 0: written; 1: the directory is not empty or cannot be written; 2: there is no such pack.
pub(crate) fn run(args: &Args) -> ExitCode {
    if let Some(unknown) = args.packs.iter().find(|name| packs::find(name).is_none()) {
        let known: Vec<&str> = packs::ALL.iter().map(|pack| pack.name).collect();
        let near = nearest(unknown, known.iter().copied());
        let remedy =
            near.map_or_else(|| format!("there are: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
        eprintln!("`{unknown}` is no pack; {remedy}");
        return ExitCode::from(exit::USAGE);
    }
    match init(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn init(args: &Args) -> anyhow::Result<()> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| format!("{}: cannot be made", directory.display()))?;
    empty(directory)?;
    let mut files: Vec<(String, String)> = vec![
        ("auditbell.toml".into(), config(&args.packs, args.templates)),
        ("rules.d/own.toml".into(), RULES.to_owned()),
        ("rules.d/records/guest-invited.json".into(), RECORD.to_owned()),
        ("people.csv".into(), PEOPLE.to_owned()),
    ];
    if args.templates {
        files.extend(templates::embedded().map(|(path, text)| (format!("templates/{path}.hbs"), text.to_owned())));
    }
    for (path, text) in &files {
        write(&directory.join(path), text)?;
        if !path.starts_with("templates/") {
            outln!("{}", directory.join(path).display());
        }
    }
    if args.templates {
        outln!("{}: {} files", directory.join("templates").display(), files.len() - 4);
    }
    let config = directory.join("auditbell.toml");
    outln!("now replace what has example.com in it, then: auditbell check -c {}", config.display());
    Ok(())
}

/// Refuses a directory with anything in it.
fn empty(directory: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("{}: cannot be listed", directory.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<String>>>()?;
    if names.is_empty() {
        return Ok(());
    }
    names.sort();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.truncate(NAMED);
    anyhow::bail!("{}: is not empty: {}{more}; name an empty directory", directory.display(), names.join(", "))
}

fn config(packs: &[String], templates: bool) -> String {
    let mut includes: Vec<String> = packs.iter().map(|name| format!("\"pack:{name}\"")).collect();
    includes.push("\"rules.d/*.toml\"".into());
    includes.dedup();
    let lists = LISTS_OF_PACKS.iter().filter(|(pack, _)| packs.iter().any(|name| name == pack)).map(|(_, list)| *list);
    let templates = if templates {
        "\n# Your own words, file by file over those of the program.\n[templates]\ndir = \"templates\"\n"
    } else {
        ""
    };
    CONFIG
        .replace("INCLUDE", &includes.join(", "))
        .replace("LISTS\n", &format!("{}\n", lists.collect::<String>()))
        .replace("TEMPLATES\n", templates)
}

/// Never over anything that is there.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::File::create_new(path)?.write_all(text.as_bytes())
    };
    written().with_context(|| format!("{}: cannot be written", path.display()))
}
