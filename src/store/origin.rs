//! Owns the text form of a record's place, as `record.origin` keeps it: `source:topic:partition:offset:index`.

use crate::record::Position;

/// The text; what is not known is left empty.
pub(super) fn text(position: &Position) -> String {
    let Position { source, topic, partition, offset, index } = position;
    let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
    let topic = topic.as_deref().unwrap_or_default();
    format!("{source}:{topic}:{}:{}:{index}", number(partition.map(i64::from)), number(*offset))
}

/// The place in `text`; read from the right, since only a source given as a path can hold a colon.
pub(super) fn parse(text: &str) -> Option<Position> {
    let mut parts = text.rsplitn(5, ':');
    let index = parts.next()?.parse().ok()?;
    let [offset, partition, topic] = [parts.next()?, parts.next()?, parts.next()?].map(known);
    Some(Position {
        source: parts.next()?.into(),
        topic: topic.map(Into::into),
        partition: partition.map(str::parse).transpose().ok()?,
        offset: offset.map(str::parse).transpose().ok()?,
        index,
    })
}

/// `None` where nothing is written.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_text() {
        let kafka = Position {
            source: "entra".into(),
            topic: Some("logs.a-1".into()),
            partition: Some(3),
            offset: Some(42),
            index: 7,
        };
        assert_eq!(text(&kafka), "entra:logs.a-1:3:42:7");
        assert_eq!(parse(&text(&kafka)), Some(kafka));
        let file = Position { source: "./a:b.json".into(), topic: None, partition: None, offset: None, index: 0 };
        assert_eq!(parse(&text(&file)), Some(file));
        assert_eq!(parse("entra:logs:x:1:2"), None);
        assert_eq!(parse(""), None);
    }
}
