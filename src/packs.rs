//! Owns the packs: rules for one purpose, shipped inside the program, which a configuration includes by name. Each is a folder
//! below `src/packs/`.

/// One pack.
#[derive(Debug)]
pub struct Pack {
    /// As `include = ["pack:NAME"]` has it.
    pub name: &'static str,
    /// Its `rules.toml`: a file of the configuration like any other.
    pub rules: &'static str,
    /// The records that the tests of its rules name: path below the pack's folder, and text.
    pub fixtures: &'static [(&'static str, &'static str)],
}

macro_rules! pack {
    ($name:literal $(, $fixture:literal)* $(,)?) => {
        Pack {
            name: $name,
            rules: include_str!(concat!("packs/", $name, "/rules.toml")),
            fixtures: &[$(($fixture, include_str!(concat!("packs/", $name, "/", $fixture)))),*],
        }
    };
}

/// All of them, by name.
pub const ALL: &[Pack] = &[pack!("entra-user-safety")];

/// The pack of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Pack> {
    ALL.iter().find(|pack| pack.name == name)
}
