//! Owns reading `each`: the list whose elements a rule is held against one by one.

use crate::rules::{List, Path};

use super::{Reader, shown};

impl Reader<'_, '_> {
    /// `each = "targets"`, `"changes"` or `"raw.PATH"`.
    pub(super) fn each(&mut self) -> Option<List> {
        let text = self.text("each")?;
        let list = match text.to_ascii_lowercase().as_str() {
            "targets" => Ok(List::Targets),
            "changes" => Ok(List::Changes),
            _ => match text.split_once('.') {
                Some((table, path)) if table.eq_ignore_ascii_case("raw") => Path::parse(path).map(List::Raw),
                _ => Err("is no list: \"targets\", \"changes\" or a path, e.g. \"raw.properties.targetResources\""),
            },
        };
        let span = self.span_of("each");
        list.map_err(|message| self.fault(span, "each", format!("`{}` {message}", shown(text)))).ok()
    }
}
