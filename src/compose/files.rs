//! Owns which files a directory of templates may hold, and the reading of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::Fault;
use super::templates::LAYOUT;

/// Variants that may stand in a template's folder.
const VARIANTS: [&str; 2] = ["unresolved", "failed"];

const MAX_FILES: usize = 1_000;
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Path without `.hbs` to the file's name for people, and its text.
pub type Files = BTreeMap<String, (String, String)>;

/// Reads the `NAME.hbs` files of `dir` into `files`. What is not a template's file is a fault: a misspelt name would
/// otherwise leave the embedded text in use.
pub fn read(dir: &Path, files: &mut Files, faults: &mut Vec<Fault>) {
    walk(dir, "", files, faults);
}

fn walk(dir: &Path, under: &str, files: &mut Files, faults: &mut Vec<Fault>) {
    let mut fault = |path: &Path, message: String| {
        faults.push(Fault { file: path.display().to_string(), line: None, message });
    };
    let entries = match std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(error) => return fault(dir, format!("cannot be read: {error}")),
    };
    let mut deeper = Vec::new();
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        // Editors, and the `..data` of a mounted ConfigMap.
        if name.starts_with('.') {
            continue;
        }
        let here = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
        if path.is_dir() {
            if under.matches('/').count() < 1 {
                deeper.push((path, here));
            } else {
                fault(&path, place(&here));
            }
            continue;
        }
        match here.strip_suffix(".hbs").filter(|path| is_template_path(path)) {
            None => fault(&path, place(&here)),
            Some(_) if files.len() >= MAX_FILES => fault(&path, format!("more than {MAX_FILES} templates")),
            Some(known) => match read_file(&path) {
                Ok(text) => {
                    files.insert(known.to_owned(), (path.display().to_string(), text));
                }
                Err(message) => fault(&path, message),
            },
        }
    }
    for (path, here) in deeper {
        walk(&path, &here, files, faults);
    }
}

fn place(here: &str) -> String {
    format!(
        "`{here}` is no template's file; there are layout/{{html,text}}/NAME.hbs, layout/body.hbs, \
         NAME/{{subject,html,text,body}}.hbs and NAME/{{unresolved,failed}}/{{subject,html,text,body}}.hbs"
    )
}

fn is_template_path(path: &str) -> bool {
    let word = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["layout", "html" | "text", name] => word(name),
        ["layout", "body"] => true,
        [name, "subject" | "html" | "text" | "body"] => word(name) && *name != LAYOUT,
        [name, variant, "subject" | "html" | "text" | "body"] => {
            word(name) && *name != LAYOUT && VARIANTS.contains(variant)
        }
        _ => false,
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("longer than {MAX_FILE_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    // What some editors put before UTF-8 is no word of a mail.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
