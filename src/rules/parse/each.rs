//! Owns reading what a rule takes for one: `each`, the list whose elements it is held against, and `once_per`.

use crate::rules::{GROUP_BY, List, OncePer, Path, Subject};

use super::{Reader, shown};

impl Reader<'_, '_> {
    /// `each = "targets"`, `"changes"` or `"raw.PATH"`.
    pub(super) fn each(&mut self) -> Option<List> {
        let text = self.text("each")?;
        let list = match text.to_ascii_lowercase().as_str() {
            "targets" => Ok(List::Targets),
            "changes" => Ok(List::Changes),
            _ => match text.split_once('.') {
                Some((table, path)) if table.eq_ignore_ascii_case("raw") => {
                    Path::parse(path).map(List::Raw).map_err(|message| format!("is no path: {message}"))
                }
                _ => {
                    Err("is no list; write \"targets\", \"changes\" or a path, e.g. \"raw.properties.targetResources\""
                        .into())
                }
            },
        };
        let span = self.span_of("each");
        list.map_err(|message| self.fault(span, "each", format!("`{}` {message}", shown(text)))).ok()
    }

    /// `once_per = ["id", "revision", FIELD]`.
    pub(super) fn once_per(&mut self) -> OncePer {
        let Some(names) = self.texts("once_per") else { return OncePer::default() };
        let mut once = OncePer { id: false, revision: false, fields: Vec::new() };
        for (span, name) in names {
            match name {
                "id" => once.id = true,
                "revision" => once.revision = true,
                name => match GROUP_BY.iter().find(|known| **known == name).and_then(|known| Subject::named(known)) {
                    Some(field) if once.fields.contains(&field) => {
                        self.fault(span, "once_per", format!("`{name}` is named twice; once is enough"));
                    }
                    Some(field) => once.fields.push(field),
                    None => self.unknown(span, "once_per", "field", name, &[GROUP_BY, &["revision"]].concat()),
                },
            }
        }
        once
    }
}
