//! Owns every metric: name, labels, unit and help. `docs/metrics.md` is held equal to this list by a test.
