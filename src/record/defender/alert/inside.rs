//! Owns what stands inside of an alert's entities. Json.NET writes an entity whole where it comes first, be that inside of
//! another one, and `{"$ref": "5"}` from then on: the account that ran a process is listed as a mere number.
//! Reference: learn.microsoft.com/azure/sentinel/entities-reference

use std::collections::HashMap;

use serde_json::Value;

use crate::record::field::Fields;

/// Where an entity holds another one that the alert concerns as much, though nothing may list it: who was logged on, and
/// the machine. Not a file, an address or a parent process: those say more of the entity that holds them.
const CONCERNED: [&str; 2] = ["Account", "Host"];
/// Who ran nothing but this is not concerned; what stands whole in it may be meant elsewhere.
const PARENT: &str = "ParentProcess";

/// The entities that were met so far.
#[derive(Default)]
pub(super) struct Inside<'a> {
    /// Of one id that several entities have, as Defender's samples do, the last that was met: a reference follows what it
    /// means.
    by_id: HashMap<String, Fields<'a>>,
    /// Those that stand in a place of [`CONCERNED`] outside of any [`PARENT`], in the record's order, with the place's name.
    pub(super) concerned: Vec<(&'static str, Fields<'a>)>,
    /// Those that are only numbers there, until all of the listed entity around them is met; they come after its others.
    numbers: Vec<(&'static str, String)>,
}

impl<'a> Inside<'a> {
    /// Takes in `value`, an element of a list of entities, with all that is in it; gives the entity that it is or means.
    pub(super) fn met(&mut self, value: &'a Value) -> Option<Fields<'a>> {
        let entity = Fields::of(value);
        if let Some(id) = entity.text("$ref") {
            return self.by_id.get(&id).copied();
        }
        self.meet(value, true);
        // What a number means may stand whole in a parent. Of a number that was given twice it may be another kind of thing.
        let by_id = &self.by_id;
        let meant = self.numbers.drain(..).filter_map(|(place, id)| Some((place, *by_id.get(&id)?)));
        let meant =
            meant.filter(|(place, entity)| entity.text("Type").is_none_or(|kind| kind.eq_ignore_ascii_case(place)));
        self.concerned.extend(meant);
        Some(entity)
    }

    /// `concerns`: outside of any parent.
    fn meet(&mut self, value: &'a Value, concerns: bool) {
        if let Value::Array(values) = value {
            for value in values {
                self.meet(value, concerns);
            }
            return;
        }
        let entity = Fields::of(value);
        if let Some(id) = entity.text("$id") {
            self.by_id.insert(id, entity);
        }
        for (name, value) in entity.iter() {
            let concerns = concerns && !name.eq_ignore_ascii_case(PARENT);
            let place = CONCERNED.into_iter().find(|place| concerns && place.eq_ignore_ascii_case(name));
            if let Some(place) = place.filter(|_| value.is_object()) {
                match Fields::of(value).text("$ref") {
                    Some(id) => self.numbers.push((place, id)),
                    None => self.concerned.push((place, Fields::of(value))),
                }
            }
            self.meet(value, concerns);
        }
    }
}
